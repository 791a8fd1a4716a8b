"""Packed weights."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from kernels.quantization.integers import QuantizedMatrix
from kernels.quantization.packing import pack, unpack_array


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["codes", "scale", "zero_point"],
    meta_fields=["shape", "bits", "shift", "group_size"],
)
@dataclasses.dataclass(frozen=True)
class PackedMatrix:
    """A weight as it is stored: the codes of a `QuantizedMatrix` without gaps.

    Attributes:
        codes: Packed, without the zero bits behind them.
        scale: See `QuantizedMatrix`.
        zero_point: See there.
        shape: Inputs and outputs.
        bits: Of each code.
        shift: Zero bits behind each.
        group_size: Inputs that share a scale; all, unless given.
    """

    codes: UInt8[Array, " bytes"]
    scale: Float[Array, "groups channels"]
    zero_point: Int[Array, "groups channels"] | None
    shape: tuple[int, int]
    bits: int
    shift: int = 0
    group_size: int | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of codes, scales and zero points."""
        return sum(leaf.nbytes for leaf in jax.tree.leaves(self))


def pack_matrix(matrix: QuantizedMatrix) -> PackedMatrix:
    """Returns a weight as it is stored."""
    codes = np.asarray(matrix.codes)
    return PackedMatrix(
        jnp.asarray(pack(codes >> matrix.shift, matrix.bits)),
        matrix.scale,
        matrix.zero_point,
        (codes.shape[0], codes.shape[1]),
        matrix.bits,
        matrix.shift,
        matrix.group_size,
    )


def unpack_matrix(packed: PackedMatrix) -> QuantizedMatrix:
    """Returns a stored weight as ``int8`` codes; a program may do it as it runs."""
    inputs, outputs = packed.shape
    codes = unpack_array(packed.codes, packed.bits, inputs * outputs)
    return QuantizedMatrix(
        (codes << packed.shift).astype(jnp.int8).reshape(inputs, outputs),
        packed.scale,
        packed.zero_point,
        packed.bits,
        packed.shift,
        packed.group_size,
    )
