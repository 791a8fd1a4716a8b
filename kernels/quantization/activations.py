"""Fake quantisation of activations: one scale for all that a layer is given."""

import math

from jaxtyping import Array, Float

from kernels.extents import Extent
from kernels.operation import widened
from kernels.quantization.fake import dequantized
from kernels.quantization.quantizers import (
    Quantizer,
    Quantizers,
    check_fit,
    quantizer_at,
    spread,
)
from kernels.quantization.scheme import ActivationScheme
from kernels.quantization.widths import Width, over_widths


def fake_quantize_activations(
    x: Float[Array, "*batch features"],
    extent: Extent,
    quantizers: Quantizers,
    scheme: ActivationScheme,
    *,
    features: int,
) -> Float[Array, "*batch features"]:
    """Returns the numbers that the codes of activations stand for (EQ-Net 2023).

    0 stays 0, so that what a mask has set to zero stays inactive.

    Args:
        x: Activations, sliced or full size.
        extent: Of bits; 16 and more leave activations as they are.
        quantizers: Of shape ``(widths, 1, 1)``: see `kernels.quantization.calibration`.
        scheme: How they are quantised.
        features: Of the full-size activations: the gradient of a scale is divided by
            the root of how many there are (LSQ, Esser 2020, section 2.2), whatever the
            part of them that a subnet has.

    Raises:
        ValueError: If quantisers do not fit, or there are none of a width.
    """
    check_fit(quantizers, scheme, len(scheme.widths), (1, 1))
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])

    def quantize(rows: Array, quantizers: Quantizers, width: Width) -> Array:
        found = activation_quantizer(rows, quantizers, width, scheme, features)
        return dequantized(rows, found)

    return over_widths(rows, quantizers, extent, quantize).reshape(x.shape)


def activation_quantizer(
    rows: Float[Array, "rows features"],
    quantizers: Quantizers,
    width: Width,
    scheme: ActivationScheme,
    features: int,
) -> Quantizer:
    """Returns the quantiser of activations at one width."""
    found = quantizer_at(quantizers, width, scheme, features)
    return spread(found, features, None, widened(rows).dtype)
