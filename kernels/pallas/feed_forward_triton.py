"""The fused feed-forward network on GPUs: hidden units stay in registers.

A program owns a block of rows and keeps its sums over all features in registers, which
bounds the features it can take. It loops over the active hidden units only, and skips
the blocks of features beyond the active ones.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Array, Float, Int

from kernels.pallas.boxes import Blocks, Ref, activated, block_count, dot
from kernels.pallas.triton import fitted, inside, load

BLOCKS = Blocks(rows=32, inner=64, columns=32)
"""Rows, features and hidden units of a tile: powers of two.

The sums of 32 rows x 512 features take 64 registers of each of the 256 threads; with
its tiles a gated network takes 250 of the 255 that the compiler for Hopper has, and
none spill. Not yet measured on hardware.
"""

MOST_FEATURES = 512
"""Beyond it the sums of a block of rows would spill out of the registers."""


def refusal(features: int) -> str | None:
    """Returns why a program cannot hold its sums, or None."""
    if features <= MOST_FEATURES:
        return None
    return f"the registers hold sums of {MOST_FEATURES} features, not {features}"


def feed_forward(
    x: Float[Array, "rows features"],
    ups: tuple[Float[Array, "features hidden"], ...],
    down: Float[Array, "hidden features"],
    sizes: Int[Array, "2"],
    *,
    blocks: Blocks | None = None,
    interpret: bool = False,
) -> Float[Array, "rows features"]:
    """Applies the active part; see `kernels.pallas.feed_forward_tpu`."""
    (rows, features), hidden = x.shape, down.shape[0]
    wanted = blocks or BLOCKS
    block = Blocks(
        rows=fitted(wanted.rows, rows),
        inner=fitted(wanted.inner, features),
        columns=fitted(wanted.columns, hidden),
    )
    # Past the ends of the arrays for the last tiles; masks keep from going there.
    wide = pl.cdiv(features, block.inner) * block.inner
    high = pl.cdiv(hidden, block.columns) * block.columns
    strip = pl.BlockSpec((block.rows, wide), _rows)
    up_spec = pl.BlockSpec((wide, high), _whole)
    return pl.pallas_call(
        functools.partial(_kernel, blocks=block, full=(rows, features)),
        out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype),
        grid=(pl.cdiv(rows, block.rows),),
        in_specs=[
            pl.BlockSpec(),
            strip,
            tuple(up_spec for _ in ups),
            pl.BlockSpec((high, wide), _whole),
        ],
        out_specs=strip,
        compiler_params=triton.CompilerParams(num_warps=8, num_stages=2),
        interpret=interpret,
    )(sizes, x, ups, down)


Units = Float[Array, "rows units"]


def _unchanged(total: Units) -> Units:
    return total


def _rows(i: Int[Array, ""]) -> tuple[Int[Array, ""], int]:
    return i, 0


def _whole(_: Int[Array, ""]) -> tuple[int, int]:
    return 0, 0


def _kernel(
    sizes: Ref,
    x: Ref,
    ups: tuple[Ref, ...],
    down: Ref,
    out: Ref,
    *,
    blocks: Blocks,
    full: tuple[int, int],
) -> None:
    features, hidden = sizes[0], sizes[1]
    row = pl.program_id(0) * blocks.rows
    strip = (blocks.rows, blocks.inner)
    starts = range(0, x.shape[1], blocks.inner)

    def units_at(column: Int[Array, ""]) -> Units:
        def add(step: Int[Array, ""], sums: tuple[Units, ...]) -> tuple[Units, ...]:
            start = step * blocks.inner
            bounds = ((row, start), (full[0], features))
            tile = load(x, (0, start), inside(strip, *bounds))
            window = inside(
                (blocks.inner, blocks.columns), (start, column), (features, hidden)
            )
            return tuple(
                total + dot(tile, load(weight, (start, column), window))
                for total, weight in zip(sums, ups, strict=True)
            )

        zeros = jnp.zeros((blocks.rows, blocks.columns), jnp.float32)
        steps = block_count(features, blocks.inner)
        return activated(*jax.lax.fori_loop(0, steps, add, tuple(zeros for _ in ups)))

    def step(index: Int[Array, ""], totals: tuple[Units, ...]) -> tuple[Units, ...]:
        column = index * blocks.columns
        values = units_at(column).astype(x.dtype)

        def added(total: Units, start: int) -> Units:
            bounds = ((column, start), (hidden, features))
            window = inside((blocks.columns, blocks.inner), *bounds)
            return total + dot(values, load(down, (column, start), window))

        return tuple(
            jax.lax.cond(
                start < features,
                functools.partial(added, start=start),
                _unchanged,
                total,
            )
            for total, start in zip(totals, starts, strict=True)
        )

    zeros = tuple(jnp.zeros(strip, jnp.float32) for _ in starts)
    totals = jax.lax.fori_loop(0, block_count(hidden, blocks.columns), step, zeros)
    for total, start in zip(totals, starts, strict=True):
        window = (pl.ds(0, blocks.rows), pl.ds(start, blocks.inner))
        stored = inside(strip, (row, start), full)
        triton.store(out.at[window], total.astype(out.dtype), mask=stored)
