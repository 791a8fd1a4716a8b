"""Extents of bits: one function of a bit-width, for all kinds of extents."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, PyTree

from kernels.extents import Extent, Fixed, Indexed
from kernels.mixtures import mixture, shielded
from kernels.quantization.scheme import FLOAT_WIDTH


class Width(NamedTuple):
    """A bit-width below 16, known or at a traced index.

    Attributes:
        choices: Widths in bits.
        index: Which of them.
    """

    choices: tuple[int, ...]
    index: Int[Array, ""] | int = 0

    def of(self, value: Callable[[int], float], dtype: DTypeLike) -> Array:
        """Returns what a function of whole bits gives at this width."""
        table = jnp.asarray([value(bits) for bits in self.choices], dtype)
        return table[self.index]


Quantize = Callable[[Array, PyTree, Width], Array]
"""Quantises an array by parameters at a width."""


def over_widths(
    array: Float[Array, "*shape"],
    parameters: PyTree,
    extent: Extent,
    quantize: Quantize,
    whole: Callable[[Array], Array] | None = None,
) -> Float[Array, "*shape"]:
    """Returns the array quantised to as many bits as an extent says.

    16 bits and more leave it as it is, unless there is ``whole``. A mixture averages
    the quantised arrays. What a width does not read of the parameters has a gradient of
    exactly zero, and may be NaN.

    Args:
        array: What is quantised.
        parameters: What is learned of quantising it.
        extent: Of bits.
        quantize: A function of one width below 16.
        whole: What 16 bits and more do to it.
    """
    whole = whole or _unchanged
    if isinstance(extent, Indexed):
        return _indexed(array, parameters, extent, quantize, whole)

    def at(bits: int, array: Array, parameters: PyTree) -> Array:
        if bits >= FLOAT_WIDTH:
            return whole(array)
        return quantize(array, parameters, Width((bits,)))

    if isinstance(extent, Fixed):
        return at(extent.size, array, parameters)
    outputs = [
        at(bits, *shielded((array, parameters), extent.weights[i] != 0))
        for i, bits in enumerate(extent.choices)
    ]
    return mixture(outputs, extent.weights)


def _unchanged(array: Array) -> Array:
    return array


def _indexed(
    array: Array,
    parameters: PyTree,
    extent: Indexed,
    quantize: Quantize,
    whole: Callable[[Array], Array],
) -> Array:
    width = narrow_width(extent)
    if width is None:
        return whole(array)
    if width.choices == extent.choices:
        return quantize(array, parameters, width)
    narrow = is_narrow(extent)
    quantized = quantize(*shielded((array, parameters), narrow), width)
    return jnp.where(narrow, quantized, whole(array))


def narrow_width(extent: Indexed) -> Width | None:
    """Returns the width at an index, or one that is there where that has 16 bits.

    None, if all choices have 16 bits and more.
    """
    narrow = [bits for bits in extent.choices if bits < FLOAT_WIDTH]
    if not narrow:
        return None
    some = tuple(b if b < FLOAT_WIDTH else narrow[0] for b in extent.choices)
    return Width(some, extent.index)


def is_narrow(extent: Indexed) -> Bool[Array, ""]:
    """Returns whether the width at an index is below 16."""
    return jnp.asarray(extent.choices)[extent.index] < FLOAT_WIDTH


def used_rows(extent: Extent, widths: tuple[int, ...]) -> Bool[Array, " widths"]:
    """Returns which of the widths' parameters an extent reads.

    The others must stand still in a step: a gradient of zero does not do that (see
    `supernets.activity`).

    Args:
        extent: Of bits.
        widths: In the order of the parameters' rows.
    """
    rows = jnp.asarray(widths)
    if isinstance(extent, Fixed):
        return rows == extent.size
    choices = jnp.asarray(extent.choices)
    if isinstance(extent, Indexed):
        return rows == choices[extent.index]
    read = (rows[:, None] == choices[None]) & (extent.weights[None] != 0)
    return jnp.any(read, axis=1)
