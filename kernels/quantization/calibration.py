"""The first scales and zero points, from the numbers that are to be quantised."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels.operation import widened
from kernels.quantization.quantizers import Quantizer, Quantizers
from kernels.quantization.scheme import ActivationScheme, Codes, Scheme

EXPONENT = 2.4
"""Of the error that the search minimises (EQ-Net's code)."""

SHRINK_FACTORS = 80
"""Scales that the search tries for each width."""


def min_max_quantizers(
    array: Float[Array, "*batch features"], codes: Codes
) -> Quantizers:
    """Returns quantisers for the whole range of numbers, of each width.

    ``s = (max - min) / (2**b - 1)``, with a range that is symmetric around 0 if codes
    are. No number is more than ``s / 2`` off. Where all that share a scale are 0, it is
    the largest scale of the others, since they may yet be trained.

    Args:
        array: A full-size weight if ``codes`` is a `Scheme`, else activations.
        codes: How it is quantised.

    Raises:
        ValueError: If groups do not divide the inputs, or the array is empty.
    """
    return _quantizers(_blocks(array, codes), codes, 1)


def searched_quantizers(
    array: Float[Array, "*batch features"], codes: Codes
) -> Quantizers:
    """Returns quantisers of the least error, of each width.

    Tries 1/80, 2/80, ... 1 times the scale of the whole range, and takes for each group
    and channel the one with the least sum of ``|error|**2.4`` (EQ-Net's code).

    Args:
        array: A full-size weight if ``codes`` is a `Scheme`, else activations.
        codes: How it is quantised.

    Raises:
        ValueError: If groups do not divide the inputs, or the array is empty.
    """
    return _quantizers(_blocks(array, codes), codes, SHRINK_FACTORS)


def activation_scheme(
    samples: Float[Array, "*batch features"],
    widths: tuple[int, ...],
    *,
    symmetric: bool = True,
) -> ActivationScheme:
    """Returns how activations are quantised: from 0 on if none is negative (EQ-Net).

    Args:
        samples: What a layer was given, of the full-size network on some batches.
        widths: In bits.
        symmetric: Whether code 0 is the number 0.

    Raises:
        ValueError: If there are no samples.
    """
    if not samples.size:
        raise ValueError(
            f"no activations to calibrate by, in shape {samples.shape}: take some "
            "batches"
        )
    signed = bool(samples.min() < 0)
    return ActivationScheme(widths=widths, symmetric=symmetric, signed=signed)


def _blocks(
    array: Float[Array, "*batch features"], codes: Codes
) -> Float[Array, "groups entries channels"]:
    """Returns the numbers so that those that share a scale are on one axis."""
    if not array.size:
        raise ValueError(f"an array of shape {array.shape} is empty: it has no scale")
    groups, channels = 1, 1
    if isinstance(codes, Scheme):
        inputs, outputs = array.shape
        groups, channels = codes.scale_shape(inputs, outputs)
    return widened(array).reshape(groups, -1, channels)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _quantizers(
    blocks: Float[Array, "groups entries channels"], codes: Codes, factors: int
) -> Quantizers:
    """Returns quantisers whose scales are the best of some parts of the whole range."""

    def of_width(edges: tuple[Array, Array]) -> tuple[Array, Array | None]:
        whole = _whole_range(blocks, codes, *edges)
        found = whole if factors == 1 else _searched(blocks, whole, factors)
        zero_point = found.zero_point
        return found.scale[:, 0], None if zero_point is None else zero_point[:, 0]

    lowest = jnp.asarray([codes.lowest(bits) for bits in codes.widths], blocks.dtype)
    highest = jnp.asarray([codes.highest(bits) for bits in codes.widths], blocks.dtype)
    return Quantizers(*jax.lax.map(of_width, (lowest, highest)))


def _whole_range(
    blocks: Array, codes: Codes, lowest: Array, highest: Array
) -> Quantizer:
    # 0 is always within the range, so that it has a code.
    low = jnp.minimum(jnp.min(blocks, axis=1, keepdims=True), 0.0)
    high = jnp.maximum(jnp.max(blocks, axis=1, keepdims=True), 0.0)
    if codes.symmetric:
        high = jnp.maximum(high, -low)
        low = jnp.where(lowest < 0, -high, 0.0)
    span = high - low
    others = jnp.where(jnp.max(span) > 0, jnp.max(span), 1.0)
    scale = jnp.where(span > 0, span, others) / (highest - lowest)
    if codes.symmetric:
        return Quantizer(scale, None, lowest, highest)
    zero_point = jnp.clip(lowest - jnp.round(low / scale), lowest, highest)
    return Quantizer(scale, zero_point, lowest, highest)


class _Best(NamedTuple):
    """The least error so far, and the factor that it is of."""

    error: Float[Array, "groups 1 channels"]
    factor: Float[Array, "groups 1 channels"]


def _searched(blocks: Array, whole: Quantizer, factors: int) -> Quantizer:
    """Returns the quantiser of the part of the range that has the least error."""

    def shrunk(factor: Array) -> Quantizer:
        return whole._replace(scale=whole.scale * factor)

    def compare(best: _Best, factor: Array) -> tuple[_Best, None]:
        quantizer = shrunk(factor)
        error = jnp.abs(quantizer.scale * quantizer.steps(blocks) - blocks)
        total = jnp.sum(error**EXPONENT, axis=1, keepdims=True)
        is_better = total < best.error
        return _Best(
            jnp.where(is_better, total, best.error),
            jnp.where(is_better, factor, best.factor),
        ), None

    # The largest first: where all entries are 0, no scale is better than another.
    tried = jnp.arange(factors, 0, -1, dtype=blocks.dtype) / factors
    start = _Best(jnp.full_like(whole.scale, jnp.inf), jnp.ones_like(whole.scale))
    best, _ = jax.lax.scan(compare, start, tried)
    return shrunk(best.factor)
