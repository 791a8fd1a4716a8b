"""The law: a subnet is the same network however it is run, and when it is cut out."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from search.space import Architecture
from supernets.decoder.extraction import extract, plain_config
from supernets.decoder.plain import PlainDecoder
from supernets.decoder.spec import Decoder
from supernets.lowering import indexed_extents
from supernets.weights import flat_weights
from tests.kernels.comparison import assert_close, assert_equal
from tests.supernets.law import (
    assert_nothing_leaks,
    extracted,
    masked,
    sliced,
    switched,
)
from tests.supernets.toy import (
    active_parts,
    decoder_arguments,
    random_weights,
    random_windows,
    small_decoder,
    with_weights,
)
from tests.variants import mainly


@pytest.mark.parametrize("rule", mainly("prefix", "spaced", "free"))
@settings(max_examples=3)
@given(decoder_arguments(), st.integers(0, 99))
def test_a_subnet_is_the_same_masked_sliced_and_extracted(rule, arguments, seed):
    spec = Decoder(**arguments, depth_rule=rule)
    space = spec.space()
    weights, windows = random_weights(spec, seed), random_windows(seed)
    run = masked(spec)
    for row, genotype in enumerate(space.sample(3, np.random.default_rng(seed))):
        architecture = space.decode(genotype)
        given = weights, *windows, jnp.asarray(genotype)
        outcome = assert_nothing_leaks(run, spec, architecture, *given)
        if row == 0:
            assert_close(outcome, sliced(spec, architecture)(*given))
            assert_close(outcome, extracted(spec, architecture)(*given))


@pytest.mark.slow
def test_halves_of_layers_are_dropped_the_same_in_every_way():
    spec = small_decoder(heads=(0, 4), group=2, ffn=(0, 6), depth=(2,), width=(8,))
    space, weights, windows = spec.space(), random_weights(spec), random_windows()
    programs = masked(spec), switched(spec)
    # Width, heads of both layers, and hidden units of both.
    for row, genes in enumerate([[0, 0, 1, 1, 0], [0, 0, 1, 0, 1], [0, 0, 0, 0, 0]]):
        architecture = space.decode(np.asarray([0, *genes], np.int32))
        given = weights, *windows, jnp.asarray([0, *genes])
        first, second = (
            assert_nothing_leaks(run, spec, architecture, *given) for run in programs
        )
        assert_close(second, first)
        if row == 0:
            assert_close(sliced(spec, architecture)(*given), first)
            assert_close(extracted(spec, architecture)(*given), first)


@pytest.mark.slow
def test_compiled_as_usual_the_network_cut_out_stands_alone():
    spec = small_decoder(group=2, heads=(2, 4), norm="layer")
    genotype = spec.space().sample(1, np.random.default_rng(1))[0]
    supernet, inputs = with_weights(spec, random_weights(spec)), random_windows()[0]
    extents = indexed_extents(spec.space(), jnp.asarray(genotype))
    expected = nnx.jit(lambda net: net(inputs, extents))(supernet)
    network = extract(supernet, spec, spec.space().decode(genotype))
    assert isinstance(network, PlainDecoder)
    nnx.update(supernet, jax.tree.map(jnp.zeros_like, nnx.state(supernet)))
    assert_close(nnx.jit(lambda net: net(inputs))(network), expected)


def test_a_layer_norm_cut_out_keeps_its_digits_where_the_mean_is_large():
    spec = small_decoder(norm="layer", depth=(1,))
    weights = random_weights(spec)
    weights["embedding.table"] += np.float32(100.0)
    # Small logits: the offset is for the norms.
    weights["norm.scale"] *= np.float32(1e-3)
    architecture = spec.space().decode(spec.space().largest)
    given = weights, *random_windows(), None
    expected = sliced(spec, architecture)(*given)
    assert_close(extracted(spec, architecture)(*given), expected)


@pytest.mark.parametrize("heads", [(2, 4), (0, 4)])
def test_exactly_the_active_weights_are_cut_out(heads):
    sizes = {"heads": heads, "ffn": (0, 3), "depth": (1, 3), "depth_rule": "free"}
    spec = small_decoder(**sizes, group=2)
    space = spec.space()
    supernet = with_weights(spec, random_weights(spec))
    genotype = space.sample(1, np.random.default_rng(3))[0]
    architecture = space.decode(genotype)
    network = extract(supernet, spec, architecture)
    stored, parts = flat_weights(supernet), active_parts(spec, architecture)
    taken = np.concatenate([np.ravel(w) for w in flat_weights(network).values()])
    kept = [np.asarray(w)[parts[name]] for name, w in stored.items()]
    assert_equal(np.sort(taken), np.sort(np.concatenate(kept)))


def test_the_sizes_of_the_plain_network_are_those_of_the_layers_that_run():
    spec = small_decoder(heads=(2, 4), group=2, depth=(1, 2, 3), depth_rule="free")
    architecture = Architecture(
        layers=(0, 2),
        shared=(("width", 8),),
        per_layer=(("heads", (4, 2)), ("ffn", (3, 6))),
    )
    config = plain_config(spec, architecture)
    assert dataclasses.asdict(config) == {
        "vocabulary": spec.vocabulary,
        "width": 8,
        "head_dim": 4,
        "heads": (4, 2),
        "kv_heads": (2, 1),
        "ffn": (3, 6),
        "gated": True,
        "norm": "rms",
        "rotary_base": 10_000.0,
        "precision": None,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": (1,)}, "do not follow the 'prefix' rule"),
        ({"shared": (("width", 5),)}, "'width' has no value 5"),
        ({"per_layer": (("heads", (1,)),)}, r"assigns \['heads', 'width'\]"),
    ],
)
def test_an_architecture_of_another_space_is_not_cut_out(change, message):
    spec = small_decoder()
    architecture = spec.space().decode(spec.space().smallest)
    other = dataclasses.replace(architecture, **change)
    supernet = with_weights(spec, random_weights(spec))
    with pytest.raises(ValueError, match=message):
        extract(supernet, spec, other)
