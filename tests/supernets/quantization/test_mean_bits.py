"""The bits of an average weight."""

import numpy as np

from supernets.quantization.mean_bits import mean_bits

INPUTS = np.asarray([[64, 128, 0], [128, 128, 64]])
OUTPUTS = np.asarray([[128, 64, 64], [128, 0, 32]])
BITS = np.asarray([[2, 4, 8], [16, 8, 3]])


def test_the_mean_counts_every_weight():
    assert np.isclose(mean_bits(INPUTS * OUTPUTS, BITS)[0], 3.0)
    assert mean_bits(np.asarray([1, 3]), np.asarray([[8, 4], [2, 2]])).tolist() == [
        5,
        2,
    ]
    assert mean_bits(np.asarray([[0, 0], [1, 0]]), 4).tolist() == [0, 4]
