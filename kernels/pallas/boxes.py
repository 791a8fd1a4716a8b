"""What the kernels of all platforms share: sizes, blocks and edges of a product.

A product multiplies the leading ``rows x inner`` box of one matrix by the leading
``inner x columns`` box of another and pads the result with zeros. Either matrix may be
stored transposed, so that a forward pass and its two gradients are the same kernel.
"""

import dataclasses
from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

Axis = Literal[0, 1]

Contract = tuple[Axis, Axis]
"""The axes of the left and the right matrix that are summed over."""

Ref = Any
"""An array inside a kernel.

JAX declares its kernel functions for the abstract values of these, and passes tracers.
"""

Shape = tuple[int, int, int]
"""Full rows, inner and columns of a product."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Blocks:
    """Tile sizes of a product; whole tiles beyond the active sizes are skipped."""

    rows: int
    inner: int
    columns: int

    def within(self, shape: Shape) -> "Blocks":
        """Returns blocks that are no larger than a product."""
        rows, inner, columns = shape
        return Blocks(
            rows=min(self.rows, rows),
            inner=min(self.inner, inner),
            columns=min(self.columns, columns),
        )

    @property
    def sizes(self) -> Shape:
        """Rows, inner and columns of a tile."""
        return self.rows, self.inner, self.columns


def product_shape(
    left: Shaped[Array, "_ _"], right: Shaped[Array, "_ _"], contract: Contract
) -> Shape:
    """Returns the full rows, inner and columns of a product.

    Raises:
        ValueError: If the matrices do not fit.
    """
    inner = left.shape[contract[0]]
    if inner != right.shape[contract[1]]:
        raise ValueError(
            f"axis {contract[0]} of {left.shape} is not axis {contract[1]} of "
            f"{right.shape}: the summed axes must have the same full size"
        )
    return left.shape[1 - contract[0]], inner, right.shape[1 - contract[1]]


Part = TypeVar("Part")


def oriented(free: Part, inner: Part, contracted: Axis) -> tuple[Part, Part]:
    """Returns a pair in the order in which a matrix stores its two axes."""
    return (free, inner) if contracted == 1 else (inner, free)


def block_count(size: Int[Array, ""], block: int) -> Int[Array, ""]:
    """Returns how many blocks a traced size touches."""
    return jax.lax.div(size + jnp.int32(block - 1), jnp.int32(block))


def last_block(size: Int[Array, ""], block: int) -> Int[Array, ""]:
    """Returns the index of the last block that a traced size touches, at least 0."""
    return jnp.maximum(block_count(size, block) - 1, 0)


def inner_steps(
    row: Int[Array, ""], column: Int[Array, ""], sizes: Ref, blocks: Blocks
) -> Int[Array, ""]:
    """Returns how many inner tiles make up a tile: none outside the active box.

    Args:
        row: Position of the tile's first row.
        column: Position of its first column.
        sizes: Active rows, inner and columns.
        blocks: Tile sizes.
    """
    occupied = (row < sizes[0]) & (column < sizes[2])
    return jnp.where(occupied, block_count(sizes[1], blocks.inner), 0)


def prefix(
    tile: Shaped[Array, "m n"],
    first: Int[Array, ""] | int,
    active: Int[Array, ""],
    *,
    axis: Axis,
) -> Shaped[Array, "m n"]:
    """Returns a tile with zeros from an active size on.

    Selects, because NaN or Inf times zero is not zero.

    Args:
        tile: Part of a matrix.
        first: Position of the tile's first entry along the axis.
        active: Active size of the matrix along the axis.
        axis: The axis of both.
    """
    positions = first + jax.lax.broadcasted_iota(jnp.int32, tile.shape, axis)
    return jnp.where(positions < active, tile, jnp.zeros_like(tile))


def dot(
    left: Float[Array, "_ _"], right: Float[Array, "_ _"], contract: Contract = (1, 0)
) -> Float[Array, "rows columns"]:
    """Multiplies two tiles, accumulating in float32.

    Matrix units would round float32 operands to bfloat16 or TF32 unless told not to.
    """
    exact = left.dtype == jnp.float32
    return jax.lax.dot_general(
        left,
        right,
        (((contract[0],), (contract[1],)), ((), ())),
        precision=jax.lax.Precision.HIGHEST if exact else None,
        preferred_element_type=jnp.float32,
    )


def activated(
    units: Float[Array, "rows hidden"], gate: Float[Array, "rows hidden"] | None = None
) -> Float[Array, "rows hidden"]:
    """Applies the activation of `kernels.feed_forward`: gelu, or silu of the gate."""
    return jax.nn.gelu(units) if gate is None else jax.nn.silu(gate) * units
