"""Fake quantisation: weights rounded to what few bits can hold, with a gradient."""

from jaxtyping import Array, Float

from kernels.extents import Extent
from kernels.operation import widened
from kernels.quantization.quantizers import (
    Quantizer,
    Quantizers,
    check_fit,
    quantizer_at,
    spread,
)
from kernels.quantization.scheme import Scheme
from kernels.quantization.widths import Width, over_widths


def fake_quantize(
    weight: Float[Array, "inputs outputs"],
    extent: Extent,
    quantizers: Quantizers,
    scheme: Scheme,
) -> Float[Array, "inputs outputs"]:
    """Returns the numbers that the codes of a weight stand for (EQ-Net, Xu 2023).

    ``s (clip(round(w / s) + z, lowest, highest) - z)``, with a scale and zero point for
    each bit-width. The gradient goes straight through the rounding; that of a scale is
    the one of LSQ (Esser 2020). 16 bits and more leave the weight as it is.

    Args:
        weight: The full-size weight: extents of sizes cut what this returns.
        extent: Of bits: `Fixed`, `Indexed` (one program for all widths), or `Mixed`
            (the average of the quantised weights).
        quantizers: Of the weight.
        scheme: How it is quantised.

    Raises:
        ValueError: If quantisers do not fit, or there are none of a width.
    """
    shape = scheme.cut_shape(*weight.shape)
    check_fit(quantizers, scheme, len(scheme.widths), shape)

    def quantize(weight: Array, quantizers: Quantizers, width: Width) -> Array:
        quantizer = weight_quantizer(weight, quantizers, width, scheme)
        return dequantized(weight, quantizer)

    return over_widths(weight, quantizers, extent, quantize)


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
