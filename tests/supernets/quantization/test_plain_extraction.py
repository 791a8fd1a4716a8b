"""The law of precision: what is cut out holds integers, and is the same network."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from supernets.dimensions import stored_weights
from supernets.lowering import fixed_extents
from supernets.quantization.plain import PlainRounding, StoredMatrix
from supernets.quantization.plain_checks import (
    product_difference,
    rounds_activations,
    with_float_products,
)
from supernets.quantization.precision import Precision
from supernets.weights import flat_weights, host_copy
from tests.kernels.comparison import assert_close, assert_equal, quick_jit
from tests.supernets.quantization.integers import (
    PRECISIONS,
    decoder_of,
    output,
    supernet_program,
    vision_of,
    weights_of,
)
from tests.supernets.toy import random_batch, small_decoder, with_weights
from tests.variants import mainly

# Default runs leave out what only repeats the work of smaller tests.
pytestmark = pytest.mark.slow

PRECISION = pytest.mark.parametrize("name", mainly(*PRECISIONS))


def assert_the_law(spec, seed):
    """Compares a random subnet with what is cut out of the supernet."""
    space, inputs = spec.space(), random_batch(spec, seed)[0]
    genotype = space.sample(1, np.random.default_rng(seed))[0]
    supernet = with_weights(spec, weights_of(spec))
    network = spec.extract(supernet, space.decode(genotype))
    expected = supernet_program(spec)(inputs, genotype)
    assert_close(output(network, inputs), expected)


@PRECISION
@settings(max_examples=3)
@given(st.integers(0, 999))
def test_a_decoder_with_integers_equals_the_subnet(name, seed):
    assert_the_law(decoder_of(PRECISIONS[name]), seed)


@pytest.mark.parametrize("name", mainly("asymmetric nested groups", *PRECISIONS))
@settings(max_examples=2)
@given(st.integers(0, 999))
def test_a_vision_transformer_with_integers_equals_the_subnet(name, seed):
    assert_the_law(vision_of(PRECISIONS[name]), seed)


def cut_out(spec, genotype, weights=None):
    """A subnet cut out of a supernet whose weights are in host memory."""
    weights = weights_of(spec) if weights is None else weights
    return spec.extract(with_weights(spec, weights), spec.space().decode(genotype))


@PRECISION
def test_codes_stand_for_the_prefix_of_the_stored_weight(name):
    spec = decoder_of(PRECISIONS[name])
    genotype = spec.space().largest
    # Less than all of the width, which ends within a group.
    genotype = np.where(np.arange(genotype.size) == 1, 0, genotype)
    supernet = with_weights(spec, weights_of(spec))
    extents = fixed_extents(spec.space(), genotype)
    block = supernet.blocks[1]
    seen = {n: e[1] if isinstance(e, tuple) else e for n, e in extents.items()}
    up, output = (
        quick_jit(lambda q=quantizers, w=weight: q(w[...], seen))()
        for quantizers, weight in (
            (block.feed_forward.up_quantizers, block.feed_forward.up),
            (block.attention.output_quantizers, block.attention.output),
        )
    )
    network = cut_out(spec, genotype)
    plain = network.blocks[1]
    close = {"atol": 1e-6, "rtol": 0}
    np.testing.assert_allclose(plain.feed_forward.up.entries(), up[:6], **close)
    merged = output.reshape(16, -1)[:, :6]
    np.testing.assert_allclose(plain.attention.output.entries(), merged, **close)


@PRECISION
def test_what_a_subnet_does_not_have_does_not_reach_its_codes(name):
    spec = decoder_of(PRECISIONS[name])
    space = spec.space()
    genotype = space.smallest.copy()
    genotype[space.slices["heads"]] = genotype[space.slices["ffn"]] = 1
    extents = fixed_extents(space, genotype)
    weights = weights_of(spec)
    poisoned = {name: np.full_like(array, np.nan) for name, array in weights.items()}
    for stored in stored_weights(with_weights(spec, weights)):
        name, part = ".".join(map(str, stored.path)), stored.cut(extents)
        if part is not None:
            poisoned[name][part] = weights[name][part]
    expected = flat_weights(cut_out(spec, genotype))
    assert_equal(flat_weights(cut_out(spec, genotype, poisoned)), expected)
    # Which are finite, or this would say nothing.
    floats = [array for array in expected.values() if array.dtype == np.float32]
    assert floats
    assert all(np.isfinite(array).all() for array in floats)


@PRECISION
def test_a_subnet_is_as_large_as_its_price_says(name):
    spec = decoder_of(PRECISIONS[name])
    genotypes = spec.space().sample(4, np.random.default_rng(0))
    priced = spec.costs(genotypes, batch=1, example=(4,))["size_mb"]
    for genotype, size in zip(genotypes, priced, strict=True):
        weights = flat_weights(cut_out(spec, genotype))
        scales = [n for n, w in weights.items() if w.shape == ()]
        stored = sum(w.nbytes for n, w in weights.items() if n not in scales)
        assert stored == round(1e6 * size)


def test_only_what_is_not_a_matrix_stays_float32():
    precision = Precision(weights=(4,), activations=(8,), symmetric=False)
    spec = decoder_of(precision)
    network = cut_out(spec, spec.space().largest)
    types = {n: str(w.dtype) for n, w in host_copy(flat_weights(network)).items()}
    query = "blocks.0.attention.query"
    assert types[f"{query}.codes"] == types["embedding.codes"] == "uint8"
    assert types[f"{query}.zero_point"] == "int8"
    others = {name for name, kind in types.items() if kind == "float32"}
    norms = {"norm.scale"} | {
        f"blocks.{layer}.{half}_norm.scale"
        for layer in range(2)
        for half in ("attention", "feed_forward")
    }
    assert norms < others
    assert all(name.endswith("scale") for name in others)
    # One scale of activations for query, key and value together.
    roundings = [n for _, n in nnx.iter_graph(network) if isinstance(n, PlainRounding)]
    assert len(roundings) == 2 * 4
    assert all(rounding.scale.shape == () for rounding in roundings)


def test_bits_are_those_of_the_layers_that_run():
    spec = decoder_of(PRECISIONS["every width"])
    space = spec.space()
    genotype = space.largest.copy()
    genotype[space.slices["weight_bits"]] = (0, 3)
    genotype[space.slices["activation_bits"]] = (2, 1)
    config = spec.plain_config(space.decode(genotype))
    assert config.precision.weight_bits == (2, 16)
    assert config.precision.activation_bits == (16, 8)
    network = cut_out(spec, genotype)
    first, second = network.blocks
    assert first.attention.query.codes is not None
    assert second.attention.query.kernel.dtype == jnp.bfloat16
    assert not rounds_activations(first)
    assert rounds_activations(second)


def test_a_model_without_precision_has_no_integers():
    spec = small_decoder()
    genotype = spec.space().largest
    network = cut_out(spec, genotype)
    assert spec.plain_config(spec.space().decode(genotype)).precision is None
    assert not any(isinstance(n, StoredMatrix) for _, n in nnx.iter_graph(network))


def difference_of(network):
    graph, params = nnx.split(network)
    return quick_jit(lambda params: product_difference(nnx.merge(graph, params)))(
        params
    )


def test_products_in_integers_and_in_floats_are_compared():
    spec = decoder_of(PRECISIONS["asymmetric adapters"])
    genotype = spec.space().smallest.copy()
    genotype[spec.space().slices["heads"]] = 1
    network, inputs = cut_out(spec, genotype), random_batch(spec)[0]
    assert difference_of(network) <= 1e-5
    twin = with_float_products(network)
    assert_close(output(twin, inputs), output(network, inputs))
    kinds = [
        n.gives_codes for _, n in nnx.iter_graph(twin) if hasattr(n, "gives_codes")
    ]
    assert kinds
    assert not any(kinds)
    # The network itself goes on as it was, and an error in a product would show.
    (layer,) = network.blocks
    assert layer.attention.input_rounding.gives_codes
    layer.attention.query.offset[...] += jnp.nan
    assert not difference_of(network) <= 1e-5
