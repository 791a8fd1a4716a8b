"""Nested integers: every width is the leading bits of one 8-bit code (MatQuant).

All widths share a scale and a zero point (Nair 2025, arXiv 2502.06786). Slices are
rounded, so they do not compose: 2 bits of 4 bits of a code are not always its 2 bits.
They are always taken from the parent of 8 bits.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from kernels.extents import Extent
from kernels.operation import widened
from kernels.quantization.fake import half, weight_quantizer
from kernels.quantization.integers import QuantizedMatrix
from kernels.quantization.quantizers import Quantizer, Quantizers, check_fit
from kernels.quantization.rounding import straight_through
from kernels.quantization.scheme import LEAST_WIDTH, MOST_WIDTH, Scheme, check_width
from kernels.quantization.widths import Width, over_widths, used_rows

PARENT_BITS = MOST_WIDTH
"""Bits of the code that slices are taken from."""

PARENT = Width((PARENT_BITS,))

OFFSET = 1 << (PARENT_BITS - 1)
"""What makes a signed code one that counts from 0."""


def bitslice(
    weight: Float[Array, "inputs outputs"],
    extent: Extent,
    quantizers: Quantizers,
    scheme: Scheme,
) -> Float[Array, "inputs outputs"]:
    """Returns the numbers that the leading bits of a weight's codes stand for.

    The gradient goes straight through both roundings; beyond the parent's range it is
    zero. That of the scale is divided by the root of the parent's highest code (see
    `quantizers.quantizer_at`), whatever the slice.

    Args:
        weight: The full-size weight: extents of sizes cut what this returns.
        extent: Of bits, 2 to 8, or 16 for a bfloat16 weight.
        quantizers: Of the parent: one row.
        scheme: How the parent is quantised; see `parent_scheme`.

    Raises:
        ValueError: If quantisers do not fit, or widths are not those of slices.
    """
    _check_parent(scheme)
    check_fit(quantizers, scheme, 1, scheme.cut_shape(*weight.shape))

    def quantize(weight: Array, quantizers: Quantizers, width: Width) -> Array:
        quantizer = weight_quantizer(weight, quantizers, PARENT, scheme)
        return sliced_numbers(weight, quantizer, width)

    return over_widths(weight, quantizers, extent, quantize, half)


def sliced_numbers(
    weight: Float[Array, "*shape"], parent: Quantizer, width: Width
) -> Float[Array, "*shape"]:
    """Returns the numbers that the leading bits of a weight's codes stand for.

    Args:
        weight: What has codes.
        parent: That makes them, of 8 bits.
        width: Of the slice.
    """
    codes = parent.coded(parent.steps(widened(weight))) + OFFSET
    sliced = straight_through(_sliced(codes, width), codes)
    return (parent.scale * parent.zeroed(sliced - OFFSET)).astype(weight.dtype)


def parent_used(extent: Extent) -> Bool[Array, " widths"]:
    """Returns, as `widths.used_rows`, whether the one row of the parent is read."""
    slices = tuple(range(LEAST_WIDTH, PARENT_BITS + 1))
    return jnp.any(used_rows(extent, slices), keepdims=True)


def parent_scheme(scheme: Scheme) -> Scheme:
    """Returns how the parent of slices is quantised: in 8 bits only."""
    return dataclasses.replace(scheme, widths=(PARENT_BITS,))


def slice_codes(codes: Float[Array, "*shape"], bits: int) -> Float[Array, "*shape"]:
    """Returns the leading bits of 8-bit codes, the others being 0.

    ``S(q, r) = clamp(floor(q / 2**(8-r) + 1/2), 0, 2**r - 1) 2**(8-r)``
    (MatQuant). Without the clamp there would be one value more than fit into the bits.

    Args:
        codes: Whole numbers from 0 to 255.
        bits: Of the slice.

    Raises:
        ValueError: If a slice cannot have so many bits.
    """
    return _sliced(codes, Width((bits,)))


def slice_matrix(matrix: QuantizedMatrix, bits: int) -> QuantizedMatrix:
    """Returns a weight whose codes are the leading bits of those of its parent.

    Args:
        matrix: The parent, of 8 bits.
        bits: Of the slice.

    Raises:
        ValueError: If it is itself a slice, or a slice cannot have so many bits.
    """
    if matrix.bits != PARENT_BITS:
        raise ValueError(
            f"a slice of {bits} bits is taken from the code of {PARENT_BITS} bits, not "
            f"from one of {matrix.bits}: rounded slices do not compose"
        )
    codes = matrix.codes.astype(jnp.float32) + OFFSET
    sliced = (slice_codes(codes, bits) - OFFSET).astype(jnp.int8)
    return dataclasses.replace(
        matrix, codes=sliced, bits=bits, shift=PARENT_BITS - bits
    )


def _sliced(codes: Array, width: Width) -> Array:
    step = width.of(_step, codes.dtype)
    top = width.of(lambda bits: (1 << bits) - 1, codes.dtype)
    return jnp.clip(jnp.floor(codes / step + 0.5), 0, top) * step


def _step(bits: int) -> int:
    check_width(bits)
    return 1 << (PARENT_BITS - bits)


def _check_parent(scheme: Scheme) -> None:
    if scheme.widths != (PARENT_BITS,):
        raise ValueError(
            f"slices have one parent of {PARENT_BITS} bits, not widths "
            f"{scheme.widths}: take bitslice.parent_scheme of the scheme"
        )
