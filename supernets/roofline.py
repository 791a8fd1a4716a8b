"""Latency of a device that is not here: what its sheet allows, not a measurement.

References:
    Williams, Waterman, Patterson, "Roofline: an insightful visual performance model for
    multicore architectures", 2009, https://doi.org/10.1145/1498765.1498785.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float

from supernets.costs import Cost

MILLISECONDS = 1e3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Roofline:
    """The sheet of a device, and the latency that it allows.

    A product takes as long as the slower of computing and moving its numbers (Williams
    2009, figure 1: attainable FLOP/s = min(peak, intensity x bandwidth)), and products
    run one after the other. What lies between them, such as norms, counts as fused
    with them. Real devices reach a part of their sheet: the latency is too low, and
    nothing is known of by how much.

    Raises:
        ValueError: If a speed is not positive, or an overhead negative.
    """

    flops_per_s: float
    """Peak floating-point operations in a second, in the type that the device runs."""
    bytes_per_s: float
    """Bytes in a second from and to memory."""
    overhead_ms: float = 0.0
    """Fixed time of a call."""
    product_ms: float = 0.0
    """Fixed time of each matrix product, as to launch a kernel."""
    bytes_per_value: float = 4.0
    """Size of a number on the device: 4 in float32, 2 in bfloat16, 1 in int8."""

    def __post_init__(self) -> None:
        for name in ("flops_per_s", "bytes_per_s", "bytes_per_value"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive and finite, got {value}")
        for name in ("overhead_ms", "product_ms"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must not be negative, got {value}")

    def predict(self, cost: Cost) -> Float[np.ndarray, " population"]:
        """Returns the latency of each subnet, in ms.

        Args:
            cost: Of subnets on the input, with their products.
        """
        total = np.full(len(cost.macs), self.overhead_ms)
        for macs, values, _ in cost.products:
            computing = 2 * macs / self.flops_per_s
            moving = values * self.bytes_per_value / self.bytes_per_s
            took = MILLISECONDS * np.maximum(computing, moving)
            took = took + self.product_ms * (macs > 0)
            total = total + (took.sum(-1) if took.ndim == 2 else took)
        return total
