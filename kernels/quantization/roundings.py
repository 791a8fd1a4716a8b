"""How activations are rounded inside the operations that read them.

An operation of several products rounds what each of them reads, in every execution and
again in its backward pass. How is settled before, by an extent of bits: what reaches
the operation are arrays, with the weights.
"""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from kernels.extents import Extent, Fixed, Indexed, runs
from kernels.mixtures import weighted
from kernels.operation import Extents, padded_like, widened
from kernels.quantization.fake import dequantized
from kernels.quantization.quantizers import (
    Quantizer,
    Quantizers,
    check_fit,
    quantizer_at,
)
from kernels.quantization.scheme import FLOAT_WIDTH, ActivationScheme
from kernels.quantization.widths import Width, is_narrow, narrow_width


class Rounding(NamedTuple):
    """How activations are rounded: an average of ways, and of leaving them alone.

    Attributes:
        scale: The step between neighbouring codes, of each way; positive.
        lowest: Code of each.
        highest: Code of each.
        share: What each counts for.
        kept: What the unrounded activations count for.
    """

    scale: Float[Array, " ways"]
    lowest: Float[Array, " ways"]
    highest: Float[Array, " ways"]
    share: Float[Array, " ways"]
    kept: Float[Array, ""]


def rounding(
    extent: Extent, quantizers: Quantizers, scheme: ActivationScheme, *, features: int
) -> Rounding | None:
    """Returns how activations are rounded to as many bits as an extent says.

    `rounded_by` then gives what `activations.fake_quantize_activations` does, values
    and gradients. An index has one way, whose scale it picks; a mixture has one for
    each of its widths below 16.

    Args:
        extent: Of bits; 16 and more leave activations as they are.
        quantizers: Of shape ``(widths, 1, 1)``: see `kernels.quantization.calibration`.
        scheme: How they are quantised: symmetric.
        features: Of the full-size activations, for the gradient of the scales.

    Returns:
        None, if no choice has fewer than 16 bits.

    Raises:
        ValueError: If the scheme has zero points, quantisers do not fit, or there are
            none of a width.
    """
    if not scheme.symmetric:
        raise ValueError(
            "operations round activations without zero points: take an "
            "ActivationScheme with symmetric=True"
        )
    check_fit(quantizers, scheme, len(scheme.widths), (1, 1))
    widths, share, kept = _ways(extent)
    if not widths:
        return None
    found = [quantizer_at(quantizers, width, scheme, features) for width in widths]
    return Rounding(
        jnp.concatenate([each.scale[0] for each in found]),
        jnp.stack([each.lowest for each in found]),
        jnp.stack([each.highest for each in found]),
        share,
        kept,
    )


def rounded_by(
    x: Float[Array, "*batch features"], rounding: Rounding | None
) -> Float[Array, "*batch features"]:
    """Returns activations rounded, in their own type; as they are without a rounding.

    ``sum_i share_i s_i clip(round(x / s_i), lowest_i, highest_i) + kept x``, with the
    gradient of `fake.dequantized`. 0 stays 0, and a way of share 0 may be NaN.

    Args:
        x: Activations, sliced or full size.
        rounding: How.
    """
    return x if rounding is None else _rounded(x, rounding)


@jax.custom_vjp
def _rounded(
    x: Float[Array, "*batch features"], rounding: Rounding
) -> Float[Array, "*batch features"]:
    wide = widened(x)
    shape = (1,) * x.ndim
    result = weighted(wide, rounding.kept.reshape(shape))
    for quantizer, share in _quantizers(rounding, wide.dtype):
        result = result + weighted(dequantized(wide, quantizer), share.reshape(shape))
    return result.astype(x.dtype)


Kept = tuple[Float[Array, "*batch features"], Rounding]


def _forward(
    x: Float[Array, "*batch features"], rounding: Rounding
) -> tuple[Float[Array, "*batch features"], Kept]:
    return _rounded(x, rounding), (x, rounding)


def _backward(
    kept: Kept, gradient: Float[Array, "*batch features"]
) -> tuple[Float[Array, "*batch features"], Rounding]:
    """Returns the gradients of activations and of how they are rounded.

    Written out, because what automatic differentiation keeps of each rounding makes
    that several times as expensive.
    """
    x, rounding = kept
    wide, grad = widened(x), widened(gradient)
    ways = _quantizers(rounding, wide.dtype)
    grads = [_gradients(wide, grad, *way) for way in ways]
    x_grads, scale_grads, share_grads = zip(*grads, strict=True)
    x_grad = sum(x_grads, grad * rounding.kept.astype(grad.dtype))
    rounding_grad = Rounding(
        jnp.stack(scale_grads),
        jnp.zeros_like(rounding.lowest),
        jnp.zeros_like(rounding.highest),
        jnp.stack(share_grads),
        _weight_gradient(wide, grad),
    )
    return x_grad.astype(x.dtype), padded_like(rounding_grad, rounding)


_rounded.defvjp(_forward, _backward)


def _quantizers(
    rounding: Rounding, dtype: jnp.dtype
) -> Iterator[tuple[Quantizer, Float[Array, ""]]]:
    """Yields each way, and its share."""
    for way in range(rounding.scale.shape[0]):
        parts = (part[way].astype(dtype) for part in rounding[:4])
        scale, lowest, highest, share = parts
        yield Quantizer(scale, None, lowest, highest), share


def _gradients(
    x: Float[Array, "*shape"],
    gradient: Float[Array, "*shape"],
    quantizer: Quantizer,
    share: Float[Array, ""],
) -> tuple[Float[Array, "*shape"], Float[Array, ""], Float[Array, ""]]:
    """Returns the gradients of x, of the scale and of the share of one way."""
    low, high = quantizer.lowest, quantizer.highest
    steps = x / quantizer.scale
    codes = jnp.round(jax.lax.clamp(low, steps, high))
    within = (low < steps) & (steps < high)
    # LSQ (Esser 2020), Eq. 3.
    slope = jnp.sum(gradient * jnp.where(within, codes - steps, codes))
    # Of share 0 the scale may be NaN, and then so is all that it multiplies.
    counts = share != 0
    return (
        jnp.where(within & counts, share * gradient, 0.0),
        jnp.where(counts, share * slope, 0.0),
        _weight_gradient(quantizer.scale * codes, gradient),
    )


def _weight_gradient(
    array: Float[Array, "*shape"], gradient: Float[Array, "*shape"]
) -> Float[Array, ""]:
    """Returns the gradient of what an array is multiplied by (`mixtures.weighted`)."""
    return jnp.sum(jnp.where(jnp.isfinite(array), array, 0.0) * gradient)


def while_running(rounding: Rounding | None, extents: Extents) -> Rounding | None:
    """Returns a rounding that gives zeros where one of the sizes is 0.

    Nobody reads what it gives there, but a scale that went NaN in a layer that does not
    run would reach those that do: NaN times a weight that is masked to zero is NaN.

    Args:
        rounding: Of what an operation reads.
        extents: Of the operation.
    """
    if rounding is None:
        return None
    running = runs(extents)
    if running is None:
        return rounding
    share, kept = (
        jnp.where(running, part, jnp.zeros((), part.dtype))
        for part in (rounding.share, rounding.kept)
    )
    return rounding._replace(share=share, kept=kept)


def refusal(*roundings: Rounding | None) -> str | None:
    """Returns why no Pallas kernel runs what has these roundings, or None."""
    if all(rounding is None for rounding in roundings):
        return None
    return "Pallas kernels do not round activations"


def _ways(
    extent: Extent,
) -> tuple[list[Width], Float[Array, " ways"], Float[Array, ""]]:
    """Returns the widths that are rounded to, their shares, and that of the others."""
    if isinstance(extent, Indexed):
        width = narrow_width(extent)
        share = is_narrow(extent).astype(jnp.float32)
        return [] if width is None else [width], share[None], 1.0 - share
    if isinstance(extent, Fixed):
        choices, weights = (extent.size,), jnp.ones(1)
    else:
        choices, weights = extent.choices, widened(extent.weights)
    narrow = np.asarray(choices) < FLOAT_WIDTH
    widths = [Width((bits,)) for bits in choices if bits < FLOAT_WIDTH]
    return widths, weights[narrow], jnp.sum(weights[~narrow])
