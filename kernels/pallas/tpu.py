"""The product on TPUs: sizes are prefetched, and inactive tiles are not fetched.

The sizes are in scalar memory before the first step. Steps outside the active box do
nothing, and their index maps repeat the last tile inside it, which the pipeline does
not copy again.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float, Int

from kernels.pallas.boxes import (
    Blocks,
    Contract,
    Ref,
    dot,
    last_block,
    oriented,
    prefix,
    product_shape,
)

Interpret = bool | pltpu.InterpretParams

Index = tuple[Int[Array, ""], Int[Array, ""]]

Step = Any
"""A grid index, or the reference of the sizes after the last of them."""

BLOCKS = Blocks(rows=512, inner=256, columns=256)
"""Multiples of the matrix unit (128 wide on v5e and before, 256 on v6e).

A size is skipped in steps of a block, so elastic dimensions get the smallest block
that fills the unit; the rows, which rarely are elastic, amortise the weights they
meet. Not yet measured on hardware.
"""


def product(
    left: Float[Array, "_ _"],
    right: Float[Array, "_ _"],
    sizes: Int[Array, "3"],
    *,
    contract: Contract,
    dtype: jnp.dtype,
    blocks: Blocks | None = None,
    interpret: Interpret = False,
) -> Float[Array, "rows columns"]:
    """Multiplies the active boxes of two matrices; see `kernels.pallas.products`."""
    rows, inner, columns = shape = product_shape(left, right, contract)
    block = (blocks or BLOCKS).within(shape)
    tile = functools.partial(tile_at, blocks=block)

    def left_index(*step: Step) -> Index:
        row, _, inner = tile(*step)
        return oriented(row, inner, contract[0])

    def right_index(*step: Step) -> Index:
        _, column, inner = tile(*step)
        return oriented(column, inner, contract[1])

    return pl.pallas_call(
        functools.partial(_kernel, contract=contract, blocks=block),
        out_shape=jax.ShapeDtypeStruct((rows, columns), dtype),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=(
                pl.cdiv(rows, block.rows),
                pl.cdiv(columns, block.columns),
                pl.cdiv(inner, block.inner),
            ),
            in_specs=[
                pl.BlockSpec(
                    oriented(block.rows, block.inner, contract[0]), left_index
                ),
                pl.BlockSpec(
                    oriented(block.columns, block.inner, contract[1]), right_index
                ),
            ],
            out_specs=pl.BlockSpec((block.rows, block.columns), _out_index),
            scratch_shapes=[pltpu.VMEM((block.rows, block.columns), jnp.float32)],
        ),
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "arbitrary")
        ),
        interpret=interpret,
    )(sizes, left, right)


def tile_at(
    i: Int[Array, ""],
    j: Int[Array, ""],
    k: Int[Array, ""],
    sizes: Ref,
    *,
    blocks: Blocks,
) -> tuple[Int[Array, ""], Int[Array, ""], Int[Array, ""]]:
    """Returns the row, column and inner tile to have in fast memory at a step.

    Steps outside the active box repeat the last tile inside it, which costs no copy.
    """
    row = last_block(sizes[0], blocks.rows)
    inner = last_block(sizes[1], blocks.inner)
    column = last_block(sizes[2], blocks.columns)
    outside = (i > row) | (j > column)
    k = jnp.where(outside, inner, jnp.minimum(k, inner))
    return jnp.minimum(i, row), jnp.minimum(j, column), k


def _out_index(
    i: Int[Array, ""], j: Int[Array, ""], _k: Int[Array, ""], _sizes: Ref
) -> Index:
    return i, j


def _kernel(
    sizes: Ref,
    left: Ref,
    right: Ref,
    out: Ref,
    total: Ref,
    *,
    contract: Contract,
    blocks: Blocks,
) -> None:
    i, j, k = (pl.program_id(axis) for axis in range(3))
    row, column, start = i * blocks.rows, j * blocks.columns, k * blocks.inner
    rows, inner, columns = (sizes[axis] for axis in range(3))
    inside = (row < rows) & (start < inner) & (column < columns)
    at_edge = start + blocks.inner > inner

    @pl.when(k == 0)
    def _() -> None:
        total[...] = jnp.zeros_like(total)

    @pl.when(inside & ~at_edge)
    def _() -> None:
        total[...] += dot(left[...], right[...], contract)

    @pl.when(inside & at_edge)
    def _() -> None:
        a = prefix(left[...], start, inner, axis=contract[0])
        b = prefix(right[...], start, inner, axis=contract[1])
        total[...] += dot(a, b, contract)

    @pl.when(k == pl.num_programs(2) - 1)
    def _() -> None:
        active = prefix(total[...], row, rows, axis=0)
        out[...] = prefix(active, column, columns, axis=1).astype(out.dtype)
