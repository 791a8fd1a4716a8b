"""Bit operations and packed sizes of populations."""

import numpy as np
import pytest

from kernels.quantization.scheme import Scheme
from supernets.quantization.costs import bit_operations, mean_bits, packed_megabytes

INPUTS = np.asarray([[64, 128, 0], [128, 128, 64]])
OUTPUTS = np.asarray([[128, 64, 64], [128, 0, 32]])
BITS = np.asarray([[2, 4, 8], [16, 8, 3]])


def test_bit_operations_grow_with_the_bits_of_both_factors():
    macs = 10 * INPUTS * OUTPUTS
    found = bit_operations(macs, BITS, 8).sum(-1)
    expected = [
        10 * 8 * (64 * 128 * 2 + 128 * 64 * 4),
        10 * 8 * (128 * 128 * 16 + 64 * 32 * 3),
    ]
    assert found.tolist() == expected
    # Beyond what an int32 holds.
    assert bit_operations(np.asarray(10**12), 8, 8) == 64e12


@pytest.mark.parametrize(
    ("scheme", "scales"),
    [
        (Scheme(granularity="tensor"), [2 * 4, 4]),
        (Scheme(), [(128 + 64) * 4, 32 * 4]),
        (Scheme(symmetric=False), [(128 + 64) * 5, 32 * 5]),
        (
            Scheme(granularity="group", group_size=48),
            [(2 * 128 + 3 * 64) * 4, 2 * 32 * 4],
        ),
    ],
)
def test_packed_sizes_are_those_of_codes_and_scales(scheme, scales):
    codes = [64 * 128 * 2 / 8 + 128 * 64 * 4 / 8, 128 * 128 * 2 + 64 * 32 * 3 / 8]
    found = packed_megabytes(INPUTS, OUTPUTS, BITS, scheme)
    assert np.allclose(found * 1e6, np.add(codes, scales), rtol=1e-12)


def test_the_mean_counts_every_weight():
    assert np.isclose(mean_bits(INPUTS * OUTPUTS, BITS)[0], 3.0)
    assert mean_bits(np.asarray([1, 3]), np.asarray([[8, 4], [2, 2]])).tolist() == [
        5,
        2,
    ]
    with pytest.raises(ValueError, match="without weights has no mean"):
        mean_bits(np.asarray([[0, 0], [1, 0]]), 4)
