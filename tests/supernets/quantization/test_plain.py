"""Layers with integers: what they multiply, what they hold, and what is refused."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from kernels.quantization.bitslice import parent_scheme
from kernels.quantization.integers import dequantize
from kernels.quantization.packing import unpack
from kernels.quantization.scheme import Scheme
from kernels.quantization.sizes import weight_bytes
from search.space import Architecture
from supernets.quantization.plain import (
    PlainRounding,
    QuantizedEmbedding,
    QuantizedLinear,
    numbers,
)
from supernets.quantization.plain_precision import (
    PlainPrecision,
    WeightFormat,
    plain_precision,
)
from supernets.quantization.precision import Precision
from supernets.weights import flat_weights
from tests.kernels.comparison import assert_close, assert_equal, normal, quick_jit

INPUTS, OUTPUTS = 10, 6

GROUPED = Scheme(widths=(4,), granularity="group", group_size=4)

FORMS = {
    "channels": WeightFormat(3, Scheme(widths=(3,))),
    "tensor": WeightFormat(8, Scheme(widths=(8,), granularity="tensor")),
    "groups": WeightFormat(4, dataclasses.replace(GROUPED, symmetric=False)),
    "slice": WeightFormat(2, parent_scheme(GROUPED)),
    "adapted": WeightFormat(4, GROUPED, is_adapted=True),
    "bfloat16": WeightFormat(16),
}


def linear_of(form, **options):
    """A layer with random codes, zero points and offsets."""
    layer = QuantizedLinear(INPUTS, OUTPUTS, form, rngs=nnx.Rngs(0), **options)
    if layer.zero_point is not None:
        shape = layer.zero_point.shape
        points = np.random.default_rng(1).integers(-8, 8, shape).astype(np.int8)
        layer.zero_point[...] = jnp.asarray(points)
    if layer.offset is not None:
        layer.offset[...] = jnp.asarray(normal(layer.offset.shape, 2))
    return layer


def applied(layer, x):
    return quick_jit(lambda layer, x: layer(x))(layer, x)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_product_in_integers_is_that_of_the_numbers(form):
    layer, rounding = linear_of(form, use_bias=True), PlainRounding(8)
    layer.bias[...] = jnp.asarray(normal((OUTPUTS,), 4))
    entries = np.asarray(layer.entries())
    x = jnp.asarray(normal((2, 3, INPUTS), 3))
    bias = np.asarray(layer.bias[...])
    assert_close(applied(layer, x), np.asarray(x) @ entries + bias)
    codes = rounding(x)
    assert codes.codes.dtype == jnp.int8
    expected = np.asarray(numbers(codes)) @ entries + bias
    assert_close(applied(layer, codes), expected)
    assert np.abs(expected).max() > 0.1


def test_what_is_added_is_the_same_in_a_group():
    layer = linear_of(FORMS["adapted"])
    added = np.asarray(layer.entries() - dequantize(layer.matrix()))
    expected = np.repeat(layer.offset[...], 4, axis=0)[:INPUTS]
    np.testing.assert_allclose(added, expected, atol=1e-6)


def test_leading_bits_are_those_of_eight():
    layer = linear_of(FORMS["slice"])
    stored = unpack(np.asarray(layer.codes[...]), 2, INPUTS * OUTPUTS)
    assert_equal(np.ravel(layer.matrix().codes), stored * 64)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_layer_holds_as_many_bytes_as_the_arithmetic_says(form):
    held = sum(array.nbytes for array in flat_weights(linear_of(form)).values())
    scheme = form.scheme or Scheme()
    offsets = form.is_adapted
    expected = weight_bytes(INPUTS, OUTPUTS, form.bits, scheme, offsets=offsets)
    assert held == expected


@pytest.mark.parametrize("form", [FORMS["channels"], FORMS["bfloat16"]])
def test_tokens_are_looked_up_and_scored_by_one_table(form):
    table = QuantizedEmbedding(7, 5, form, rngs=nnx.Rngs(0))
    tokens = jnp.asarray([[0, 6, 2], [1, 1, 4]])
    entries = np.asarray(table.entries())
    assert entries.shape == (5, 7)
    assert_equal(table(tokens), entries.T[np.asarray(tokens)])
    x = jnp.asarray(normal((2, 3, 5), 0))
    assert_close(table.attend(x), np.asarray(x) @ entries)


def test_bfloat16_weights_have_no_codes():
    with pytest.raises(ValueError, match="a weight of 16 bits has no codes"):
        linear_of(FORMS["bfloat16"]).matrix()


def test_rounded_activations_are_codes_of_so_many_bits():
    rounding = PlainRounding(4)
    x = jnp.linspace(-9.0, 9.0, 50)[None]
    found = rounding(x)
    assert found.codes.min() == -8
    assert found.codes.max() == 7
    rounding.gives_codes = False
    assert_equal(rounding(x), numbers(found))


PRECISION = PlainPrecision(
    weight_bits=(2, 16),
    activation_bits=(16, 8),
    outer_bits=8,
    granularity="group",
    group_size=4,
)


def test_the_bits_of_a_network_come_back_from_json():
    stored = json.loads(json.dumps(dataclasses.asdict(PRECISION)))
    assert PlainPrecision.from_json(stored) == PRECISION
    with pytest.raises(TypeError, match="unexpected keyword argument 'bits'"):
        PlainPrecision.from_json({**stored, "bits": 4})


def test_each_weight_is_stored_as_its_layer_says():
    assert PRECISION.weights_of(0).scheme == dataclasses.replace(GROUPED, widths=(2,))
    assert PRECISION.weights_of(1) == WeightFormat(16)
    # By channels, whatever layers do.
    assert PRECISION.outer == WeightFormat(8, Scheme(widths=(8,)))
    nested = dataclasses.replace(PRECISION, mechanism="nested")
    assert nested.weights_of(0).shift == 6
    assert nested.weights_of(0).scheme == parent_scheme(GROUPED)


def test_a_model_without_activation_bits_leaves_activations_as_they_are():
    architecture = Architecture((0, 2), (), (("weight_bits", (4, 8)),))
    found = plain_precision(Precision(), architecture)
    assert found.activation_bits == (16, 16)
    assert plain_precision(None, architecture) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight_bits": (2, 9)}, "codes cannot have 9 bits: take 2 to 8, or 16"),
        ({"outer_bits": 1}, "codes cannot have 1 bits"),
        ({"activation_bits": (8,)}, "weights of 2 layers and activations of 1"),
    ],
)
def test_bits_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PRECISION, **changes)


def test_bits_of_another_number_of_layers_are_refused():
    PRECISION.require_layers(2)
    with pytest.raises(ValueError, match="bits of 2 layers for a network of 3"):
        PRECISION.require_layers(3)


def test_new_layers_give_numbers_of_the_usual_size():
    for form in FORMS.values():
        layer = QuantizedLinear(256, 64, form, rngs=nnx.Rngs(0))
        y = applied(layer, jax.random.normal(jax.random.key(0), (16, 256)))
        assert 0.2 < float(jnp.std(y)) < 3.0
