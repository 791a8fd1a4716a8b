"""Spaces collected from modules."""

import dataclasses
import re

import pytest
from flax import nnx

from search.space import Choice, Depth
from supernets.collection import collect_space, require_used
from supernets.decoder.spec import Decoder
from supernets.layers import ElasticLinear
from supernets.lowering import Scaled
from tests.supernets.toy import unweighted

HIDDEN = Choice("hidden", (8, 16))


class TwoLayers(nnx.Module):
    def __init__(self, first, second, *, rngs):
        self.up = ElasticLinear(4, first, rngs=rngs)
        self.down = ElasticLinear(second, 4, rngs=rngs)


def two_layers(first, second):
    return nnx.eval_shape(lambda: TwoLayers(first, second, rngs=nnx.Rngs(0)))


def decoder():
    return Decoder(width=(8, 16), heads=(1, 2), ffn=(8, 16), depth=(1, 2), head_dim=4)


@pytest.mark.parametrize("rule", ["prefix", "spaced", "free"])
def test_collected_space_of_the_decoder_is_the_one_of_its_spec(rule):
    spec = dataclasses.replace(decoder(), depth_rule=rule)
    supernet = unweighted(spec)
    space = collect_space(supernet, layers=2, depth=Depth((1, 2), rule))
    assert space == spec.space()
    require_used(space, supernet)


def test_choice_shared_by_layers_is_collected_once():
    module = two_layers(HIDDEN, HIDDEN)
    assert collect_space(module).choices == (HIDDEN,)


def test_choices_inside_a_scaled_dimension_are_collected():
    ratio = Choice("ratio", (2, 4))
    module = two_layers(Scaled(HIDDEN, ratio), Scaled(3, HIDDEN))
    space = collect_space(module)
    assert space.choices == (HIDDEN, ratio)
    require_used(space, module)


def test_layers_that_disagree_are_refused():
    other = Choice("hidden", (4, 16))
    module = two_layers(HIDDEN, other)
    with pytest.raises(ValueError, match="declare the choice once"):
        collect_space(module)


def test_module_without_elastic_layers_is_refused():
    module = two_layers(8, 8)
    with pytest.raises(ValueError, match="no layer of TwoLayers is elastic"):
        collect_space(module)


def test_axis_that_no_layer_uses_is_refused():
    space = decoder().space()
    unused = Choice("kernel", (3, 5))
    space = dataclasses.replace(space, choices=(*space.choices, unused))
    message = re.escape(f"no layer of ElasticDecoder uses {unused}")
    with pytest.raises(ValueError, match=message):
        require_used(space, unweighted(decoder()))


def test_axis_that_the_space_lacks_is_refused():
    space = decoder().space()
    space = dataclasses.replace(space, choices=space.choices[:-1])
    with pytest.raises(ValueError, match=r"hold \[Choice\(name='ffn'"):
        require_used(space, unweighted(decoder()))
