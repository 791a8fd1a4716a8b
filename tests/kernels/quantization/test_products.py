"""Products of integers are those of the fake-quantised numbers."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels.extents import Fixed
from kernels.quantization.activations import fake_quantize_activations
from kernels.quantization.calibration import activation_scheme, min_max_quantizers
from kernels.quantization.fake import fake_quantize
from kernels.quantization.integers import dequantize, quantize, quantize_activations
from kernels.quantization.products import MOST_INPUTS, integer_matmul
from kernels.quantization.quantizers import cut_quantizers
from kernels.quantization.scheme import Scheme
from kernels.quantization.storage import pack_matrix, unpack_matrix
from tests.kernels.comparison import assert_close, normal, quick_jit
from tests.kernels.quantization.cases import (
    PREFIX,
    SCHEMES,
    activations,
    learned,
    subnet,
)

pytestmark = pytest.mark.slow


@functools.partial(quick_jit, static_argnums=(4, 5))
def products(codes, x, weight, quantizers, bits, scheme):
    """Products of integers, and of what training sees."""
    seen = fake_quantize(weight, Fixed(bits), quantizers, scheme)
    matrix = quantize(weight, bits, quantizers, scheme)
    return integer_matmul(codes, matrix), x @ seen


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize("low", [-2.0, 0.0])
def test_products_of_integers_are_those_of_fake_quantised_numbers(scheme, low):
    inputs, _ = PREFIX
    for x_bits, bits in [(8, 8), (4, 2), (8, 3)]:
        codes, x = activations(scheme, low, inputs, x_bits)
        assert codes.codes.dtype == jnp.int8
        found, expected = products(codes, x, *subnet(scheme), bits, scheme)
        assert_close(found, expected)


def test_a_product_of_many_inputs_does_not_lose_its_last_digits():
    scheme = Scheme(granularity="tensor", symmetric=False)
    weight = jnp.asarray(normal((3000, 3), 0) + np.float32(1))
    matrix = quantize(weight, 8, min_max_quantizers(weight, scheme), scheme)
    x = jnp.asarray(np.abs(normal((2, 3000), 1)))
    x_scheme = activation_scheme(x, (8,), symmetric=False)
    codes = quantize_activations(x, 8, min_max_quantizers(x, x_scheme), x_scheme)
    steps = np.asarray(codes.codes, int) - int(codes.zero_point)
    expected = (steps * float(codes.scale)) @ np.asarray(dequantize(matrix), np.float64)
    assert_close(integer_matmul(codes, matrix), expected)


@pytest.mark.parametrize("scheme", [SCHEMES["channel"], SCHEMES["asymmetric groups"]])
def test_an_exported_network_is_what_was_trained(scheme):
    """Two layers, cut out of larger ones, in integers that come from bytes."""
    weight, quantizers = learned(scheme)
    inputs, outputs = PREFIX
    x = jnp.asarray(normal((7, inputs), 3))

    def trained(x, a_scheme, a_quantizers, b_scheme, b_quantizers):
        x = fake_quantize_activations(
            x, Fixed(8), a_quantizers, a_scheme, features=len(weight)
        )
        seen = fake_quantize(weight, Fixed(4), quantizers, scheme)
        hidden = jax.nn.relu(x @ seen[:inputs, :outputs])
        hidden = fake_quantize_activations(
            hidden, Fixed(8), b_quantizers, b_scheme, features=weight.shape[1]
        )
        last = fake_quantize(weight, Fixed(3), quantizers, scheme)
        return hidden @ last[:outputs, :outputs]

    a_scheme = activation_scheme(x, (8,))
    a = min_max_quantizers(x, a_scheme)
    hidden = jax.nn.relu(x @ weight[:inputs, :outputs])
    b_scheme = activation_scheme(hidden, (8,))
    b = min_max_quantizers(hidden, b_scheme)
    expected = trained(x, a_scheme, a, b_scheme, b)

    def stored(rows, bits):
        cut = cut_quantizers(quantizers, scheme, inputs=rows, outputs=outputs)
        return pack_matrix(quantize(weight[:rows, :outputs], bits, cut, scheme))

    @quick_jit
    def exported(x, first, last):
        codes = quantize_activations(x, 8, a, a_scheme)
        hidden = jax.nn.relu(integer_matmul(codes, unpack_matrix(first)))
        codes = quantize_activations(hidden, 8, b, b_scheme)
        return integer_matmul(codes, unpack_matrix(last))

    assert not b_scheme.signed
    assert_close(exported(x, stored(inputs, 4), stored(outputs, 3)), expected)


def test_what_integers_cannot_multiply_is_refused():
    scheme = SCHEMES["channel"]
    weight, quantizers = learned(scheme)
    matrix = quantize(weight, 4, quantizers, scheme)
    codes, _ = activations(scheme, -2.0, len(weight), 8)
    native = dataclasses.replace(matrix, codes=matrix.codes.astype(jnp.int4))
    with pytest.raises(ValueError, match=r"weight are int4: .* do not for CPUs"):
        integer_matmul(codes, native)
    with pytest.raises(ValueError, match="activations are int4"):
        integer_matmul(codes._replace(codes=codes.codes.astype(jnp.int4)), matrix)
    with pytest.raises(ValueError, match="9 activations do not fit a weight of 12"):
        integer_matmul(codes._replace(codes=codes.codes[..., :9]), matrix)
    many = MOST_INPUTS + 1
    long = dataclasses.replace(matrix, codes=jnp.zeros((many, 6), jnp.int8))
    wide = codes._replace(codes=jnp.zeros((1, many), jnp.int8))
    with pytest.raises(ValueError, match="may overflow int32: quantise in groups"):
        integer_matmul(wide, long)
