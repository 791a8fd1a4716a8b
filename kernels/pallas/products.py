"""The product that every kernel is made of, by the implementation that was planned."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from kernels.pallas import tpu
from kernels.pallas.boxes import Blocks, Contract, Shape, product_shape
from kernels.pallas.selection import Implementation, required, selected

Size = Int[Array, ""] | int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How products run: static, so that it is part of what is compiled."""

    implementation: Implementation
    blocks: Blocks | None = None
    interpret: tpu.Interpret = False


def planned(
    dtype: jnp.dtype,
    shape: Shape,
    *,
    implementation: Implementation | None,
    blocks: Blocks | None,
    interpret: tpu.Interpret | None,
) -> Plan:
    """Returns how to run products of a type and shape.

    Raises:
        ValueError: If nothing can run here, or not what was asked for.
    """
    if interpret and implementation == "mosaic_gpu":
        raise ValueError(
            "'mosaic_gpu' is interpreted under JAX's force_gpu_interpret_mode, not by "
            "interpret=True"
        )
    if implementation is None:
        implementation = "tpu" if interpret else selected(dtype, shape)
    required(implementation, dtype, shape)
    return Plan(
        implementation=implementation, blocks=blocks, interpret=interpret or False
    )


def product(
    plan: Plan,
    left: Float[Array, "_ _"],
    right: Float[Array, "_ _"],
    sizes: tuple[Size, Size, Size],
    *,
    contract: Contract = (1, 0),
    dtype: jnp.dtype | None = None,
) -> Float[Array, "rows columns"]:
    """Multiplies the active boxes of two matrices and pads with zeros.

    Args:
        plan: How to run.
        left: Rows by inner; inner by rows if its axis 0 is contracted.
        right: Inner by columns; columns by inner if its axis 1 is contracted.
        sizes: Active rows, inner and columns.
        contract: The summed axis of each matrix.
        dtype: Of the result; that of ``left`` unless given. Sums are float32.
    """
    shape = product_shape(left, right, contract)
    active = stacked(sizes, shape)
    dtype = jnp.dtype(dtype or left.dtype)
    if plan.implementation == "tpu":
        return tpu.product(
            left,
            right,
            active,
            contract=contract,
            dtype=dtype,
            blocks=plan.blocks,
            interpret=plan.interpret,
        )
    if plan.implementation == "mosaic_gpu":
        from kernels.pallas import mosaic_gpu

        return mosaic_gpu.product(
            left, right, active, contract=contract, dtype=dtype, blocks=plan.blocks
        )
    from kernels.pallas import triton

    return triton.product(
        left,
        right,
        active,
        contract=contract,
        dtype=dtype,
        blocks=plan.blocks,
        interpret=bool(plan.interpret),
    )


def stacked(sizes: tuple[Size, ...], full: tuple[int, ...]) -> Int[Array, " sizes"]:
    """Returns active sizes as the kernels take them, none beyond its full size."""
    traced = (jnp.asarray(size, jnp.int32) for size in sizes)
    clipped = (jnp.clip(s, 0, n) for s, n in zip(traced, full, strict=True))
    return jnp.stack(list(clipped))


def checked(name: str, size: Size, full: int) -> Int[Array, ""]:
    """Returns an active size as an array.

    Raises:
        ValueError: If it is known and not between 0 and the full size.
    """
    if isinstance(size, int) and not 0 <= size <= full:
        raise ValueError(f"{name}={size} is not between 0 and the full size {full}")
    return jnp.asarray(size, jnp.int32)
