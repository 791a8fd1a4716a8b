"""Integers of a few bits in bytes, one after the other, with no gap between them.

The first code is in the lowest bits of the first byte; a code may reach into the next
byte. Negative ones are in two's complement. Only the last byte may have bits to spare.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt8

from kernels.quantization.scheme import check_width

BITS_PER_BYTE = 8


def packed_size(count: int, bits: int) -> int:
    """Returns the bytes that codes take.

    Args:
        count: Codes.
        bits: Of each.
    """
    return -(-count * bits // BITS_PER_BYTE)


def pack(codes: Int[np.ndarray, "*shape"], bits: int) -> UInt8[np.ndarray, " bytes"]:
    """Returns codes in bytes, the last axis fastest.

    Args:
        codes: From ``-2**(bits-1)`` to ``2**(bits-1) - 1``.
        bits: Of each, 2 to 8.

    Raises:
        ValueError: If codes are no integers, or do not fit into the bits.
    """
    check_width(bits)
    if not np.issubdtype(codes.dtype, np.integer):
        raise ValueError(f"codes must be integers, got {codes.dtype}: quantise first")
    half = 1 << (bits - 1)
    if codes.size and not -half <= int(codes.min()) <= int(codes.max()) < half:
        raise ValueError(
            f"codes from {codes.min()} to {codes.max()} do not fit into {bits} bits, "
            f"which hold {-half} to {half - 1}"
        )
    planes = (codes.reshape(-1, 1) >> np.arange(bits, dtype=codes.dtype)) & 1
    return np.packbits(planes.astype(np.uint8), bitorder="little")


def unpack(packed: UInt8[np.ndarray, " bytes"], bits: int, count: int) -> np.ndarray:
    """Returns codes from bytes, as ``int8``.

    Args:
        packed: By `pack`.
        bits: Of each code.
        count: Codes.

    Raises:
        ValueError: If there are more or fewer bytes than those codes take.
    """
    _check_size(packed.size, bits, count)
    planes = np.unpackbits(packed, count=count * bits, bitorder="little")
    return np.asarray(_joined(planes.reshape(count, bits)))


def unpack_array(
    packed: UInt8[Array, " bytes"], bits: int, count: int
) -> Int[Array, " count"]:
    """Returns codes from bytes as `unpack` does, on a device.

    Args:
        packed: By `pack`.
        bits: Of each code.
        count: Codes.

    Raises:
        ValueError: If there are more or fewer bytes than those codes take.
    """
    _check_size(packed.size, bits, count)
    planes = jnp.unpackbits(packed, count=count * bits, bitorder="little")
    return jnp.asarray(_joined(planes.reshape(count, bits)))


def _joined(planes: np.ndarray | Array) -> np.ndarray | Array:
    """Returns the signed codes whose bits are given, the lowest first."""
    bits = planes.shape[1]
    unsigned = (planes << np.arange(bits, dtype=np.uint8)[None]).sum(1, dtype=np.uint8)
    half = 1 << (bits - 1)
    # The sign bit counts for minus what it counts for otherwise.
    return ((unsigned ^ np.uint8(half)).astype(np.int16) - np.int16(half)).astype(
        np.int8
    )


def _check_size(size: int, bits: int, count: int) -> None:
    check_width(bits)
    if size != packed_size(count, bits):
        raise ValueError(
            f"{count} codes of {bits} bits are {packed_size(count, bits)} bytes, got "
            f"{size}: was the file cut off, or packed in other bits?"
        )
