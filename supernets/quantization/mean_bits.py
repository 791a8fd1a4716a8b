"""The bits of an average weight."""

import numpy as np
from jaxtyping import Float

from kernels.quantization.sizes import Sizes


def mean_bits(params: Sizes, bits: Sizes) -> Float[np.ndarray, "*population"]:
    """Returns the bits of an average weight (EQ-Net bounds them in its search).

    Args:
        params: Entries of each weight; the last axis holds the weights of a network.
        bits: Of each.

    Returns:
        Mean bits; 0 of a network without weights.
    """
    params, bits = np.broadcast_arrays(np.asarray(params, np.float64), bits)
    total = params.sum(-1)
    return np.asarray((params * bits).sum(-1) / np.maximum(total, 1.0))
