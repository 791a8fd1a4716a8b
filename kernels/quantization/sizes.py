"""How many bytes packed weights are, for whole populations at once.

Nothing here loads an array library but NumPy: searches price subnets by it.
"""

import numpy as np
from jaxtyping import Int

from kernels.quantization.scheme import FLOAT_WIDTH, Scheme

BITS_PER_BYTE = 8

SCALE_BYTES = 4
"""A float32."""

ZERO_POINT_BYTES = 1
"""An int8."""

Sizes = int | np.ndarray
"""Whole numbers that broadcast, as of a population and its layers."""


def weight_bytes(
    inputs: Sizes,
    outputs: Sizes,
    bits: Sizes,
    scheme: Scheme,
    *,
    offsets: bool = False,
) -> Int[np.ndarray, "*shape"]:
    """Returns the bytes of stored weights: codes, scales and zero points.

    Of codes ``ceil(inputs outputs bits / 8)``, and 4 bytes for each scale, 1 for each
    zero point. Weights of 16 bits and more have no scales.

    Args:
        inputs: Of each weight.
        outputs: Of each.
        bits: Of each.
        scheme: How they are quantised.
        offsets: Whether there are floats in the place of zero points, which hold
            adapters as well.
    """
    inputs, outputs, bits = (
        np.asarray(sizes, np.int64) for sizes in (inputs, outputs, bits)
    )
    count = inputs * outputs
    groups = -(-inputs // scheme.group_size) if scheme.group_size else 1
    channels = 1 if scheme.granularity == "tensor" else outputs
    shared = groups * channels * (count > 0) * (bits < FLOAT_WIDTH)
    zero_point = 0 if scheme.symmetric else ZERO_POINT_BYTES
    each = SCALE_BYTES + (SCALE_BYTES if offsets else zero_point)
    return np.asarray(-(-count * bits // BITS_PER_BYTE) + shared * each)
