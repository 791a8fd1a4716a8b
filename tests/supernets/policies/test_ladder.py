"""Subnets that differ in one axis."""

import numpy as np
import pytest
from hypothesis import given, settings

from search.space import Choice, Depth, Rule, Space
from supernets.policies.ladder import ladder
from tests.search.strategies import build_space, space_specs
from tests.supernets.policies.priced import FFN, SPACES, WIDTH


@settings(max_examples=25)
@given(space_specs())
def test_each_rung_has_one_value_of_the_axis_and_the_largest_of_all_others(spec):
    space = build_space((*spec[:-1], False))
    for axis in [name for name, values in space.axes.items() if len(values) > 1]:
        rungs = ladder(space, axis)
        assert (rungs[-1] == space.largest).all()
        assert (space.canonical(rungs) == rungs).all()
        for value, rung in zip(space.axes[axis], rungs, strict=True):
            alone = {name: values[-1:] for name, values in space.axes.items()}
            alone[axis] = (value,)
            only = space.restrict(**alone)
            assert space.encode(only.decode(only.largest)).tolist() == rung.tolist()


def test_rungs_of_depth_follow_its_rule():
    layers = {}
    for name in ("prefix", "spaced", "free"):
        space = SPACES[name].restrict(depth=(2, 4))
        rungs = ladder(space, "depth")
        layers[name] = [space.decode(rung).layers for rung in rungs]
    assert layers["prefix"] == layers["free"] == [(0, 1), (0, 1, 2, 3)]
    assert layers["spaced"] == [(0, 3), (0, 1, 2, 3)]


def test_axes_that_cannot_be_climbed_are_refused():
    flat = SPACES["flat"]
    with pytest.raises(ValueError, match=r"no axis 'depth'.*\['width', 'ffn'\]"):
        ladder(flat, "depth")
    with pytest.raises(ValueError, match="'ffn' has the one value 128: nothing"):
        ladder(flat.restrict(ffn=(128,)), "ffn")
    with pytest.raises(ValueError, match="'depth' has the one value 4: nothing"):
        ladder(Space((WIDTH,), 4, Depth((4,))), "depth")


def test_a_rule_may_not_exclude_a_rung():
    rule = Rule(
        "wide needs a large ffn", lambda a: a["width"] < 64 or 64 not in a["ffn"]
    )
    space = Space((WIDTH, FFN), 2, rules=(rule,))
    assert len(ladder(space, "width")) == 3
    with pytest.raises(ValueError, match="excludes ffn 64 with all else at its larg"):
        ladder(space, "ffn")


def test_values_need_not_be_sizes():
    space = Space((Choice("activation", ("relu", "gelu")), WIDTH))
    assert ladder(space, "activation").tolist() == [[0, 2], [1, 2]]
    assert np.issubdtype(ladder(space, "activation").dtype, np.int32)
