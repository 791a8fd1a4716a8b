"""Fake quantisation: weights rounded to what few bits can hold, with a gradient."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels.extents import Extent
from kernels.operation import widened
from kernels.quantization.quantizers import (
    Quantizer,
    Quantizers,
    check_fit,
    quantizer_at,
    spread,
    spread_groups,
)
from kernels.quantization.rounding import straight_through
from kernels.quantization.scheme import Scheme
from kernels.quantization.widths import Width, over_widths


class Adapters(NamedTuple):
    """What is added to a quantised weight, of low rank and its own for each width.

    One number for each group and channel, which a zero point can hold as well (QA-LoRA,
    Xu 2023, arXiv 2309.14717, section 3.3).

    Attributes:
        down: From groups to the rank.
        up: From there to channels.
    """

    down: Float[Array, "widths groups rank"]
    up: Float[Array, "widths rank channels"]


def fake_quantize(
    weight: Float[Array, "inputs outputs"],
    extent: Extent,
    quantizers: Quantizers,
    scheme: Scheme,
    adapters: Adapters | None = None,
) -> Float[Array, "inputs outputs"]:
    """Returns the numbers that the codes of a weight stand for (EQ-Net, Xu 2023).

    ``s (clip(round(w / s) + z, lowest, highest) - z)``, with a scale and zero point for
    each bit-width. The gradient goes straight through the rounding; that of a scale is
    the one of LSQ (Esser 2020). 16 bits are bfloat16, without adapters.

    Args:
        weight: The full-size weight: extents of sizes cut what this returns.
        extent: Of bits: `Fixed`, `Indexed` (one program for all widths), or `Mixed`
            (the average of the quantised weights).
        quantizers: Of the weight.
        scheme: How it is quantised.
        adapters: What is added to what codes stand for.

    Raises:
        ValueError: If quantisers do not fit, or there are none of a width.
    """
    shape = scheme.cut_shape(*weight.shape)
    check_fit(quantizers, scheme, len(scheme.widths), shape)

    def quantize(
        weight: Array, learned: tuple[Quantizers, Adapters | None], width: Width
    ) -> Array:
        quantizers, adapters = learned
        quantizer = weight_quantizer(weight, quantizers, width, scheme)
        stood_for = dequantized(weight, quantizer)
        if adapters is None:
            return stood_for
        row = width.of(scheme.row, jnp.int32)
        added = jnp.matmul(adapters.down[row], adapters.up[row], precision="highest")
        whole = spread_groups(added, weight.shape[0], scheme.group_size)
        return stood_for + whole.astype(weight.dtype)

    return over_widths(weight, (quantizers, adapters), extent, quantize, half)


def half(weight: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns a weight rounded to bfloat16, as 16 bits store it, in its own type."""
    stored = weight.astype(jnp.bfloat16).astype(weight.dtype)
    return straight_through(stored, weight)


def weight_quantizer(
    weight: Float[Array, "inputs outputs"],
    quantizers: Quantizers,
    width: Width,
    scheme: Scheme,
) -> Quantizer:
    """Returns the quantiser of a weight at one width, for each of its entries."""
    found = quantizer_at(quantizers, width, scheme, scheme.sharing(*weight.shape))
    return spread(found, weight.shape[0], scheme.group_size, widened(weight).dtype)


def dequantized(
    array: Float[Array, "*shape"], quantizer: Quantizer
) -> Float[Array, "*shape"]:
    """Returns the numbers that the codes of an array stand for."""
    wide = widened(array)
    return (quantizer.scale * quantizer.steps(wide)).astype(array.dtype)
