"""The product on any GPU: each program loops over the active inner tiles only.

Runs where `kernels.pallas.mosaic_gpu` does not. JAX 0.11 deprecates this backend of
Pallas, so nothing imports this file before it is needed. Loads are masked: what is
inactive is not read.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Array, Bool, Float, Int

from kernels.pallas.boxes import (
    Axis,
    Blocks,
    Contract,
    Ref,
    dot,
    inner_steps,
    oriented,
    product_shape,
)

BLOCKS = Blocks(rows=64, inner=32, columns=64)
"""Powers of two, as the compiler demands; four warps hold 64 x 64 sums in registers.

Not yet measured on hardware.
"""

Index = Int[Array, ""] | int

SMALLEST = 16
"""The smallest side of a tile that the matrix units take."""


def product(
    left: Float[Array, "_ _"],
    right: Float[Array, "_ _"],
    sizes: Int[Array, "3"],
    *,
    contract: Contract,
    dtype: jnp.dtype,
    blocks: Blocks | None = None,
    interpret: bool = False,
) -> Float[Array, "rows columns"]:
    """Multiplies the active boxes of two matrices; see `kernels.pallas.products`."""
    rows, inner, columns = product_shape(left, right, contract)
    wanted = blocks or BLOCKS
    block = Blocks(
        rows=fitted(wanted.rows, rows),
        inner=fitted(wanted.inner, inner),
        columns=fitted(wanted.columns, columns),
    )
    # Past the end of the array for the last tile; the masks keep from reading there.
    padded = pl.cdiv(inner, block.inner) * block.inner
    return pl.pallas_call(
        functools.partial(
            _kernel, contract=contract, blocks=block, full=(rows, columns)
        ),
        out_shape=jax.ShapeDtypeStruct((rows, columns), dtype),
        grid=(pl.cdiv(rows, block.rows), pl.cdiv(columns, block.columns)),
        in_specs=[
            pl.BlockSpec(),
            _strip(block.rows, padded, contract[0], program_axis=0),
            _strip(block.columns, padded, contract[1], program_axis=1),
        ],
        out_specs=pl.BlockSpec((block.rows, block.columns), _out_index),
        compiler_params=triton.CompilerParams(num_warps=4, num_stages=3),
        interpret=interpret,
    )(sizes, left, right)


def fitted(block: int, size: int) -> int:
    """Returns the smallest power of two that holds a size, at most a block."""
    return max(SMALLEST, min(block, pl.next_power_of_2(size)))


def inside(
    shape: tuple[int, int],
    first: tuple[Index, Index],
    active: tuple[Index, Index],
) -> Bool[Array, "m n"]:
    """Returns the mask of a tile's entries that lie before the active sizes."""
    row, column = (
        start + jax.lax.broadcasted_iota(jnp.int32, shape, axis)
        for axis, start in enumerate(first)
    )
    return (row < active[0]) & (column < active[1])


def load(
    ref: Ref, first: tuple[Index, Index], mask: Bool[Array, "m n"]
) -> Float[Array, "m n"]:
    """Loads the tile at a position; what is masked is zero, and not read."""
    window = tuple(pl.ds(a, n) for a, n in zip(first, mask.shape, strict=True))
    return triton.load(ref.at[window], mask=mask, other=0.0)


def _strip(
    block: int, padded: int, contracted: Axis, *, program_axis: Axis
) -> pl.BlockSpec:
    def index(i: Int[Array, ""], j: Int[Array, ""]) -> tuple[Index, Index]:
        return oriented((i, j)[program_axis], 0, contracted)

    return pl.BlockSpec(oriented(block, padded, contracted), index)


def _out_index(i: Int[Array, ""], j: Int[Array, ""]) -> tuple[Index, Index]:
    return i, j


def _kernel(
    sizes: Ref,
    left: Ref,
    right: Ref,
    out: Ref,
    *,
    contract: Contract,
    blocks: Blocks,
    full: tuple[int, int],
) -> None:
    row, column = pl.program_id(0) * blocks.rows, pl.program_id(1) * blocks.columns
    rows, inner, columns = (sizes[axis] for axis in range(3))
    strips = (
        (left, contract[0], blocks.rows, row, rows),
        (right, contract[1], blocks.columns, column, columns),
    )

    def step(
        index: Int[Array, ""], total: Float[Array, "rows columns"]
    ) -> Float[Array, "rows columns"]:
        start = index * blocks.inner
        a, b = (
            load(
                strip,
                oriented(0, start, axis),
                inside(
                    oriented(block, blocks.inner, axis),
                    oriented(first, start, axis),
                    oriented(active, inner, axis),
                ),
            )
            for strip, axis, block, first, active in strips
        )
        return total + dot(a, b, contract)

    zeros = jnp.zeros(out.shape, jnp.float32)
    total = jax.lax.fori_loop(0, inner_steps(row, column, sizes, blocks), step, zeros)
    # Masked loads are zeros, so the sums beyond the active sizes are zeros already.
    stored = inside(out.shape, (row, column), full)
    triton.store(out, total.astype(out.dtype), mask=stored)
