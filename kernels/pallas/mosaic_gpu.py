"""The product on Hopper GPUs: wgmma fed by a pipeline of as many steps as are active.

One warpgroup computes a tile. Tiles of the active box are copied to shared memory by
the tensor memory accelerator, several steps ahead; the tile at the edge of the summed
axis is masked there, because wgmma reads its operands from shared memory.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array, Float, Int

from kernels.pallas.boxes import (
    Axis,
    Blocks,
    Contract,
    Ref,
    Shape,
    inner_steps,
    oriented,
    prefix,
    product_shape,
)
from kernels.pallas.selection import WGMMA_SIZE

BLOCKS = Blocks(rows=128, inner=64, columns=128)
"""wgmma takes 64 rows; 64 bfloat16 are the 128 bytes of the widest swizzle.

128 x 128 sums are 128 registers of each thread of a warpgroup; the compiler uses 232 of
255 and spills none. Not yet measured on hardware.
"""

STEPS_AHEAD = 4
"""Steps in flight: 4 x (16 + 16) kB of the 227 kB of shared memory; sums take 64."""

SWIZZLE_BYTES = 128


def product(
    left: Float[Array, "_ _"],
    right: Float[Array, "_ _"],
    sizes: Int[Array, "3"],
    *,
    contract: Contract,
    dtype: jnp.dtype,
    blocks: Blocks | None = None,
) -> Float[Array, "rows columns"]:
    """Multiplies the active boxes of two matrices; see `kernels.pallas.products`."""
    shape = product_shape(left, right, contract)
    # Kernels of this backend have no batching rule: a population runs in sequence.
    run = jax.custom_batching.sequential_vmap(
        functools.partial(
            _product,
            contract=contract,
            dtype=dtype,
            blocks=fitting(blocks or BLOCKS, shape),
        )
    )
    return run(left, right, sizes)


def fitting(wanted: Blocks, shape: Shape) -> Blocks:
    """Returns blocks that divide a product whose sizes are multiples of 64."""
    sizes = zip(wanted.sizes, shape, strict=True)
    rows, inner, columns = (b if n % b == 0 else WGMMA_SIZE for b, n in sizes)
    return Blocks(rows=rows, inner=inner, columns=columns)


def _product(
    left: Float[Array, "_ _"],
    right: Float[Array, "_ _"],
    sizes: Int[Array, "3"],
    *,
    contract: Contract,
    dtype: jnp.dtype,
    blocks: Blocks,
) -> Float[Array, "rows columns"]:
    rows, _, columns = product_shape(left, right, contract)
    kernel = plgpu.kernel(
        functools.partial(_kernel, contract=contract, blocks=blocks),
        out_type=jax.ShapeDtypeStruct((rows, columns), dtype),
        grid=(rows // blocks.rows, columns // blocks.columns),
        grid_names=("rows", "columns"),
        scratch_types={
            "stored": plgpu.SMEM(
                (blocks.rows, blocks.columns), dtype, transforms=_tiled(dtype)
            )
        },
        compiler_params=plgpu.CompilerParams(
            lowering_semantics=plgpu.LoweringSemantics.Warpgroup
        ),
    )
    return kernel(left, right, sizes)


def _tiled(dtype: jnp.dtype) -> tuple[plgpu.TilingTransform, plgpu.SwizzleTransform]:
    swizzled = SWIZZLE_BYTES // jnp.dtype(dtype).itemsize
    return plgpu.TilingTransform((8, swizzled)), plgpu.SwizzleTransform(SWIZZLE_BYTES)


def _tiles(
    array: Ref, which: Int[Array, ""], shape: tuple[int, int], contracted: Axis
) -> plgpu.BlockSpec:
    def index(step: Int[Array, ""]) -> tuple[Int[Array, ""], Int[Array, ""]]:
        return oriented(which, step, contracted)

    return plgpu.BlockSpec(shape, index, transforms=_tiled(array.dtype))


def _kernel(
    left: Ref,
    right: Ref,
    sizes: Ref,
    out: Ref,
    stored: Ref,
    *,
    contract: Contract,
    blocks: Blocks,
) -> None:
    i, j = jax.lax.axis_index("rows"), jax.lax.axis_index("columns")
    row, column = i * blocks.rows, j * blocks.columns
    rows, inner, columns = (sizes[axis] for axis in range(3))

    def total(sums: Ref) -> Float[Array, "rows columns"]:
        def step(indices: tuple[Int[Array, ""]], a: Ref, b: Ref) -> None:
            start = indices[0] * blocks.inner

            @pl.when(start + blocks.inner > inner)
            def _() -> None:
                for tile, axis in zip((a, b), contract, strict=True):
                    tile[...] = prefix(tile[...], start, inner, axis=axis)
                plgpu.commit_smem()

            plgpu.wgmma(
                sums,
                a if contract[0] == 1 else plgpu.transpose_ref(a, (1, 0)),
                b if contract[1] == 0 else plgpu.transpose_ref(b, (1, 0)),
            )
            plgpu.wgmma_wait(0)

        plgpu.emit_pipeline(
            step,
            grid=(inner_steps(row, column, sizes, blocks),),
            in_specs=[
                _tiles(
                    left,
                    i,
                    oriented(blocks.rows, blocks.inner, contract[0]),
                    contract[0],
                ),
                _tiles(
                    right,
                    j,
                    oriented(blocks.columns, blocks.inner, contract[1]),
                    contract[1],
                ),
            ],
            max_concurrent_steps=STEPS_AHEAD,
        )(left, right)
        return sums[...]

    sums = pl.run_scoped(total, plgpu.ACC((blocks.rows, blocks.columns), jnp.float32))
    active = prefix(sums, row, rows, axis=0)
    stored[...] = prefix(active, column, columns, axis=1).astype(out.dtype)
    plgpu.commit_smem()
    window = (pl.ds(row, blocks.rows), pl.ds(column, blocks.columns))
    plgpu.copy_smem_to_gmem(stored, out.at[window])
    plgpu.wait_smem_to_gmem(0)
