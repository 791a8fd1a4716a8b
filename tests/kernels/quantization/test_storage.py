"""Stored weights: they come back, and are as large as the arithmetic says."""

import jax
import numpy as np
import pytest

from kernels.quantization.bitslice import parent_scheme, slice_matrix
from kernels.quantization.integers import quantize
from kernels.quantization.scheme import Scheme
from kernels.quantization.sizes import weight_bytes
from kernels.quantization.storage import pack_matrix, unpack_matrix
from tests.kernels.comparison import assert_equal
from tests.kernels.quantization.cases import PREFIX, SCHEMES, subnet


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize("bits", [3, 8])
def test_stored_weights_come_back_and_are_as_large_as_the_arithmetic_says(scheme, bits):
    weight, quantizers = subnet(scheme)
    matrix = quantize(weight, bits, quantizers, scheme)
    sliced = parent_scheme(scheme)
    parent = quantize(subnet(sliced)[0], 8, subnet(sliced)[1], sliced)
    for each in (matrix, slice_matrix(parent, bits)):
        stored = pack_matrix(each)
        back = jax.jit(unpack_matrix)(stored)
        assert_equal(jax.tree.leaves(back), jax.tree.leaves(each))
        assert jax.tree.structure(back) == jax.tree.structure(each)
        assert stored.nbytes == weight_bytes(*PREFIX, bits, scheme)


@pytest.mark.parametrize(
    ("scheme", "extra"),
    [
        (Scheme(granularity="tensor"), 4),
        (Scheme(), 4 * 32),
        (Scheme(symmetric=False), 5 * 32),
        (Scheme(granularity="group", group_size=16), 4 * 32 * 7),
    ],
)
def test_bytes_are_those_of_codes_and_scales(scheme, extra):
    bits = np.asarray([[2, 3, 4], [8, 16, 32]])
    expected = np.asarray([[800, 1200, 1600], [3200, 6400, 12800]])
    expected += extra * (bits < 16)
    assert_equal(weight_bytes(100, 32, bits, scheme), expected)
    assert weight_bytes(3, 3, 3, Scheme(granularity="tensor")) == 4 + 4
    assert weight_bytes(0, 32, 4, scheme) == 0
