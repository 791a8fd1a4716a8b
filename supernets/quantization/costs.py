"""What bits cost, for whole populations at once; see `supernets.costs`.

Arrays broadcast, as over a population and its layers. A layer without inputs or outputs
is one that is skipped, and costs nothing.
"""

import numpy as np
from jaxtyping import Float

from kernels.quantization.scheme import Scheme
from kernels.quantization.storage import Sizes, weight_bytes
from supernets.costs import BYTES_PER_MEGABYTE


def bit_operations(
    macs: Sizes, weight_bits: Sizes, activation_bits: Sizes
) -> Float[np.ndarray, "*population"]:
    """Returns multiply-accumulates times the bits of both factors (BOPs).

    Args:
        macs: Of each product.
        weight_bits: Of its weight.
        activation_bits: Of what it is multiplied by.
    """
    cost = np.asarray(macs, np.float64) * weight_bits * activation_bits
    return np.asarray(cost)


def packed_megabytes(
    inputs: Sizes, outputs: Sizes, bits: Sizes, scheme: Scheme
) -> Float[np.ndarray, "*population"]:
    """Returns the size of whole networks' packed weights, scales and zero points.

    Args:
        inputs: Of each weight; the last axis holds the weights of a network.
        outputs: Of each.
        bits: Of each.
        scheme: How they are quantised.
    """
    stored = weight_bytes(inputs, outputs, bits, scheme)
    return np.asarray(stored.sum(-1) / BYTES_PER_MEGABYTE)


def mean_bits(params: Sizes, bits: Sizes) -> Float[np.ndarray, "*population"]:
    """Returns the bits of an average weight (EQ-Net bounds them in its search).

    Args:
        params: Entries of each weight; the last axis holds the weights of a network.
        bits: Of each.

    Raises:
        ValueError: If a network has no weights.
    """
    params, bits = np.broadcast_arrays(np.asarray(params, np.float64), bits)
    total = params.sum(-1)
    if not total.all():
        raise ValueError("a network without weights has no mean number of bits")
    return np.asarray((params * bits).sum(-1) / total)
