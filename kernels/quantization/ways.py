"""Several ways to quantise a weight, of which a traced index picks one."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from kernels.extents import Extent
from kernels.mixtures import shielded
from kernels.quantization.bitslice import PARENT, sliced_numbers
from kernels.quantization.fake import dequantized, half, weight_quantizer
from kernels.quantization.quantizers import Quantizer, Quantizers
from kernels.quantization.scheme import Scheme
from kernels.quantization.widths import Width, over_widths


def quantize_one_way(
    weight: Float[Array, "inputs outputs"],
    extent: Extent,
    which: Int[Array, ""],
    quantizers: Sequence[Quantizers],
    schemes: Sequence[Scheme],
    *,
    is_nested: bool,
) -> Float[Array, "inputs outputs"]:
    """Returns the numbers that the codes of a weight stand for, in one of some ways.

    As `fake.fake_quantize` and `bitslice.bitslice` do. It is the scales that are picked
    from, and the weight is rounded once: programs are about as large as those of a
    single way. What belongs to the others has a gradient of exactly zero.

    Args:
        weight: The full-size weight.
        extent: Of bits.
        which: The place of the way.
        quantizers: Of each.
        schemes: Of each, with the same widths.
        is_nested: Whether fewer bits are the leading ones of 8.

    Raises:
        ValueError: If the schemes differ in their widths.
    """
    if len({scheme.widths for scheme in schemes}) > 1:
        widths = [scheme.widths for scheme in schemes]
        raise ValueError(f"ways must have the same widths, got {widths}")

    def quantize(weight: Array, learned: tuple[Quantizers, ...], width: Width) -> Array:
        at = PARENT if is_nested else width
        ways = [
            weight_quantizer(weight, shielded(each, which == place), at, scheme)
            for place, (each, scheme) in enumerate(zip(learned, schemes, strict=True))
        ]
        quantizer = _picked(ways, which, weight.shape)
        if is_nested:
            return sliced_numbers(weight, quantizer, width)
        return dequantized(weight, quantizer)

    return over_widths(weight, tuple(quantizers), extent, quantize, half)


def _picked(
    ways: Sequence[Quantizer], which: Int[Array, ""], shape: tuple[int, ...]
) -> Quantizer:
    """Returns one of several quantisers of a weight, which share their codes."""
    scale = jnp.stack([jnp.broadcast_to(way.scale, shape) for way in ways])[which]
    zero_point = None
    if any(way.zero_point is not None for way in ways):
        zero = jnp.zeros((), scale.dtype)
        points = [zero if way.zero_point is None else way.zero_point for way in ways]
        zero_point = jnp.stack([jnp.broadcast_to(p, shape) for p in points])[which]
    return Quantizer(scale, zero_point, ways[0].lowest, ways[0].highest)
