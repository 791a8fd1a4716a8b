"""Scales and zero points: one learned set for each bit-width (EQ-Net, Xu 2023).

A number ``w`` has the code ``q = clip(round(w / s) + z, lowest, highest)``, and that
stands for ``s (q - z)``. The weights are shared by all widths, scales and zero points
are not: a scale that is twice that of one bit more, and so on from 8 bits, is about two
times worse in squared error at 2 to 4 bits than the best one.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels.operation import widened
from kernels.quantization.rounding import gradient_scaled, rounded, straight_through
from kernels.quantization.scheme import Codes, Scheme
from kernels.quantization.widths import Width

SMALLEST_SCALE = 1e-12
"""A learned scale may come to be zero or negative; what divides is at least this."""


class Quantizers(NamedTuple):
    """What is learned of quantising one array.

    Attributes:
        scale: The step between neighbouring codes, for each width.
        zero_point: The code that stands for 0; rounded when it is used. ``None`` in a
            symmetric scheme.
    """

    scale: Float[Array, "widths groups channels"]
    zero_point: Float[Array, "widths groups channels"] | None = None


class Quantizer(NamedTuple):
    """The scale and zero point of one width, in the shape of what they quantise.

    Attributes:
        scale: Positive.
        zero_point: Whole; ``None`` if it is 0 everywhere.
        lowest: Code.
        highest: Code.
    """

    scale: Float[Array, "*#shape"]
    zero_point: Float[Array, "*#shape"] | None
    lowest: Float[Array, ""]
    highest: Float[Array, ""]

    def steps(self, array: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Returns codes less their zero point: whole numbers of steps from 0.

        Their gradient is that of what is rounded where that lies strictly between the
        lowest and the highest code, else that of the zero point (LSQ, Esser 2020, Eq. 3
        and 5; for the zero point LSQ+, Bhalgat 2020).
        """
        low, high = self.lowest, self.highest
        if self.zero_point is not None:
            low, high = (
                jnp.broadcast_to(edge - self.zero_point, array.shape)
                for edge in (low, high)
            )
        return rounded(jax.lax.clamp(low, array / self.scale, high))

    def zeroed(self, codes: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Returns codes less their zero point."""
        return codes if self.zero_point is None else codes - self.zero_point

    def coded(self, steps: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Returns steps plus their zero point."""
        return steps if self.zero_point is None else steps + self.zero_point


def quantizer_at(
    quantizers: Quantizers, width: Width, codes: Codes, sharing: int
) -> Quantizer:
    """Returns the quantiser of one width, in float32.

    Gradients of scales and zero points are multiplied by ``1 / sqrt(Q_p n)``, with the
    highest code ``Q_p`` and the number of entries ``n`` that share them (LSQ, section
    2.2), so that they move about as fast as the weights. EQ-Net's code has twice that
    where channels have scales of their own.

    Args:
        quantizers: Of all widths.
        width: Which one.
        codes: What widths there are.
        sharing: Entries that share a scale.
    """
    row = width.of(codes.row, jnp.int32)
    lowest = width.of(codes.lowest, jnp.float32)
    highest = width.of(codes.highest, jnp.float32)
    factor = width.of(lambda b: (codes.highest(b) * sharing) ** -0.5, jnp.float32)

    def learned(array: Array) -> Array:
        wide = widened(array[row])
        return gradient_scaled(wide, factor.astype(wide.dtype))

    scale = jnp.maximum(jnp.abs(learned(quantizers.scale)), SMALLEST_SCALE)
    if quantizers.zero_point is None:
        return Quantizer(scale, None, lowest, highest)
    zero_point = learned(quantizers.zero_point)
    # Within the codes, so that the number 0 has one: masked and padded entries stay 0.
    whole = jnp.clip(jnp.round(zero_point), lowest, highest)
    return Quantizer(scale, straight_through(whole, zero_point), lowest, highest)


def spread(
    quantizer: Quantizer, inputs: int, group_size: int | None, dtype: jnp.dtype
) -> Quantizer:
    """Returns a quantiser of groups in the shape and type of a weight's entries."""

    def entries(array: Array) -> Array:
        return spread_groups(array, inputs, group_size).astype(dtype)

    zero_point = quantizer.zero_point
    return Quantizer(
        entries(quantizer.scale),
        None if zero_point is None else entries(zero_point),
        quantizer.lowest.astype(dtype),
        quantizer.highest.astype(dtype),
    )


def spread_groups(
    array: Float[Array, "groups channels"], inputs: int, group_size: int | None
) -> Float[Array, "#inputs channels"]:
    """Returns what each input has of what its group has."""
    if group_size is None:
        return array
    return jnp.repeat(array, group_size, axis=0)[:inputs]


def cut_quantizers(
    quantizers: Quantizers, scheme: Scheme, *, inputs: int, outputs: int
) -> Quantizers:
    """Returns the quantisers of the prefix of a weight.

    A prefix may end within a group, which it then shares with nobody else.

    Args:
        quantizers: Of the stored weight.
        scheme: Of it.
        inputs: Of the prefix.
        outputs: Of the prefix.
    """
    groups, channels = scheme.cut_shape(inputs, outputs)

    def cut(array: Array) -> Array:
        return array[:, :groups, :channels]

    return jax.tree.map(cut, quantizers)


def check_fit(
    quantizers: Quantizers, codes: Codes, rows: int, shape: tuple[int, int]
) -> None:
    """Refuses quantisers that are not those of an array.

    Args:
        quantizers: To check.
        codes: How they quantise.
        rows: Widths that they should have.
        shape: Groups and channels that they should have.

    Raises:
        ValueError: If shapes differ, or zero points are missing or useless.
    """
    wanted = (rows, *shape)
    if quantizers.scale.shape != wanted:
        raise ValueError(
            f"scales of shape {quantizers.scale.shape} do not fit: {codes} has widths "
            f"x groups x channels = {wanted}; make them by kernels.quantization."
            "calibration, of the full weight"
        )
    if (quantizers.zero_point is None) != codes.symmetric:
        missing = "no zero point" if quantizers.zero_point is None else "a zero point"
        raise ValueError(f"there is {missing}, but symmetric={codes.symmetric}")
