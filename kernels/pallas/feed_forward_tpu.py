"""The fused feed-forward network on TPUs: hidden units never leave the chip.

For each block of rows the grid walks over blocks of hidden units, and for each of
those twice over the features: first it sums the units, then it multiplies the
activated units into the output, whose sums stay in fast memory until the last unit.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float, Int

from kernels.pallas.boxes import Blocks, Ref, activated, dot, last_block, prefix
from kernels.pallas.tpu import Interpret

BLOCKS = Blocks(rows=512, inner=256, columns=256)
"""Rows, features and hidden units of a tile, as in `kernels.pallas.tpu`.

Not yet measured on hardware.
"""

FAST_MEMORY_BYTES = 12 * 2**20
"""What tiles and sums may take: 16 MiB less room for the compiler's own."""

FEWEST_ROWS = 64
"""Below it a block of rows is too small for the weights that it fetches."""


@dataclasses.dataclass(frozen=True)
class Grid:
    """Steps of the kernel: twice over the features for each block of hidden units."""

    blocks: Blocks
    feature_steps: int
    hidden_steps: int

    def fetched(
        self, hidden: Int[Array, ""], step: Int[Array, ""], sizes: Ref
    ) -> tuple[Int[Array, ""], Int[Array, ""], Int[Array, ""]]:
        """Returns the hidden block, and those of the features going up and down.

        A step that needs no new tile repeats the last, which costs no copy.
        """
        last = last_block(sizes[0], self.blocks.inner)
        last_hidden = last_block(sizes[1], self.blocks.columns)
        after = hidden > last_hidden
        up = jnp.where(after, last, jnp.minimum(step, last))
        down = jnp.clip(step - self.feature_steps, 0, last)
        return jnp.minimum(hidden, last_hidden), up, jnp.where(after, last, down)


def refusal(rows: int, features: int, dtype: jnp.dtype) -> str | None:
    """Returns why no block of rows fits into fast memory, or None."""
    if fitting_rows(rows, features, dtype) is not None:
        return None
    return (
        f"{FEWEST_ROWS} rows x {features} features of float32 sums do not fit into "
        f"{FAST_MEMORY_BYTES} bytes of fast memory"
    )


def feed_forward(
    x: Float[Array, "rows features"],
    ups: tuple[Float[Array, "features hidden"], ...],
    down: Float[Array, "hidden features"],
    sizes: Int[Array, "2"],
    *,
    blocks: Blocks | None = None,
    interpret: Interpret = False,
) -> Float[Array, "rows features"]:
    """Applies the active features and hidden units of a network.

    Args:
        x: Activations; the inactive features are never used.
        ups: The up projection, and the gate if there is one.
        down: The down projection.
        sizes: Active features and hidden units.
        blocks: Tiles of rows, features (inner) and hidden units (columns).
        interpret: Interpret instead of compiling.
    """
    (rows, features), hidden = x.shape, down.shape[0]
    fitting = fitting_rows(rows, features, x.dtype) or FEWEST_ROWS
    default = dataclasses.replace(BLOCKS, rows=fitting)
    block = (blocks or default).within((rows, features, hidden))
    grid = Grid(block, pl.cdiv(features, block.inner), pl.cdiv(hidden, block.columns))
    up_tile = pl.BlockSpec((block.inner, block.columns), functools.partial(_up, grid))
    return pl.pallas_call(
        functools.partial(_kernel, grid=grid),
        out_shape=jax.ShapeDtypeStruct((rows, features), x.dtype),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            grid=(pl.cdiv(rows, block.rows), grid.hidden_steps, 2 * grid.feature_steps),
            in_specs=[
                pl.BlockSpec((block.rows, block.inner), functools.partial(_x, grid)),
                tuple(up_tile for _ in ups),
                pl.BlockSpec(
                    (block.columns, block.inner), functools.partial(_down, grid)
                ),
            ],
            out_specs=pl.BlockSpec(
                (block.rows, block.inner), functools.partial(_out, grid)
            ),
            scratch_shapes=[
                pltpu.VMEM((len(ups), block.rows, block.columns), jnp.float32),
                pltpu.VMEM((block.rows, block.columns), x.dtype),
                pltpu.VMEM((grid.feature_steps, block.rows, block.inner), jnp.float32),
            ],
        ),
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary", "arbitrary")
        ),
        interpret=interpret,
    )(sizes, x, ups, down)


def fitting_rows(rows: int, features: int, dtype: jnp.dtype) -> int | None:
    """Returns the largest block of rows that fits into fast memory, or None."""
    item = jnp.dtype(dtype).itemsize
    # Each tile that is copied in or out has two buffers; gate and up are two weights.
    weights = 2 * 3 * BLOCKS.inner * BLOCKS.columns * item
    of_row = 2 * 2 * BLOCKS.inner * item + BLOCKS.columns * (2 * 4 + item)
    padded = pl.cdiv(features, BLOCKS.inner) * BLOCKS.inner
    block = BLOCKS.rows
    while block >= FEWEST_ROWS:
        if weights + min(block, rows) * (of_row + 4 * padded) <= FAST_MEMORY_BYTES:
            return block
        block //= 2
    return None


Index = tuple[Int[Array, ""], Int[Array, ""]]


def _x(
    grid: Grid, i: Int[Array, ""], h: Int[Array, ""], s: Int[Array, ""], sizes: Ref
) -> Index:
    return i, grid.fetched(h, s, sizes)[1]


def _up(
    grid: Grid, _: Int[Array, ""], h: Int[Array, ""], s: Int[Array, ""], sizes: Ref
) -> Index:
    hidden, feature, _ = grid.fetched(h, s, sizes)
    return feature, hidden


def _down(
    grid: Grid, _: Int[Array, ""], h: Int[Array, ""], s: Int[Array, ""], sizes: Ref
) -> Index:
    hidden, _, feature = grid.fetched(h, s, sizes)
    return hidden, feature


def _out(
    grid: Grid, i: Int[Array, ""], h: Int[Array, ""], s: Int[Array, ""], _: Ref
) -> Index:
    # Until the sums are complete the same tile is kept, and so not written out.
    complete = h == grid.hidden_steps - 1
    return i, jnp.where(complete, jnp.maximum(s - grid.feature_steps, 0), 0)


def _kernel(
    sizes: Ref,
    x: Ref,
    ups: tuple[Ref, ...],
    down: Ref,
    out: Ref,
    units: Ref,
    hidden_tile: Ref,
    total: Ref,
    *,
    grid: Grid,
) -> None:
    h, s = pl.program_id(1), pl.program_id(2)
    is_up, which = s < grid.feature_steps, jax.lax.rem(s, grid.feature_steps)
    column, start = h * grid.blocks.columns, which * grid.blocks.inner
    features, hidden = sizes[0], sizes[1]
    inside = (column < hidden) & (start < features)

    @pl.when((h == 0) & (s == 0))
    def _() -> None:
        total[...] = jnp.zeros_like(total)

    @pl.when(s == 0)
    def _() -> None:
        units[...] = jnp.zeros_like(units)

    @pl.when(is_up & inside)
    def _() -> None:
        _add_units(units, x, ups, start, features)

    @pl.when(s == grid.feature_steps)
    def _() -> None:
        values = activated(*(units[index] for index in range(len(ups))))
        active = prefix(values, column, hidden, axis=1)
        hidden_tile[...] = active.astype(hidden_tile.dtype)

    @pl.when(~is_up & inside)
    def _() -> None:
        _add_outputs(total.at[which], hidden_tile, down, column, hidden)

    @pl.when(~is_up & (h == grid.hidden_steps - 1))
    def _() -> None:
        active = prefix(total[which], start, features, axis=1)
        out[...] = active.astype(out.dtype)


def _add_units(
    units: Ref,
    x: Ref,
    ups: tuple[Ref, ...],
    start: Int[Array, ""],
    features: Int[Array, ""],
) -> None:
    at_edge = start + x.shape[1] > features

    @pl.when(~at_edge)
    def _() -> None:
        for index, weight in enumerate(ups):
            units[index] += dot(x[...], weight[...])

    @pl.when(at_edge)
    def _() -> None:
        active = prefix(x[...], start, features, axis=1)
        for index, weight in enumerate(ups):
            units[index] += dot(active, prefix(weight[...], start, features, axis=0))


def _add_outputs(
    total: Ref,
    hidden_tile: Ref,
    down: Ref,
    column: Int[Array, ""],
    hidden: Int[Array, ""],
) -> None:
    at_edge = column + down.shape[0] > hidden

    @pl.when(~at_edge)
    def _() -> None:
        total[...] += dot(hidden_tile[...], down[...])

    @pl.when(at_edge)
    def _() -> None:
        active = prefix(down[...], column, hidden, axis=0)
        total[...] += dot(hidden_tile[...], active)
