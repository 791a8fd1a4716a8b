"""Elastic embedding: look tokens up, and score them with the same table."""

import dataclasses
import math

import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from typing_extensions import override

from kernels import dispatch, tiles
from kernels.extents import Extent, Fixed, restrict
from kernels.operation import (
    Call,
    Extents,
    Operation,
    Sizes,
    active,
    prefix,
    static,
    widened,
)


def embed(
    tokens: Int[Array, "*batch"],
    table: Float[Array, "vocabulary all_features"],
    features: Extent,
) -> Float[Array, "*batch features"]:
    """Returns the active features of each token's row."""
    return dispatch.run(Call(_Embed(), (features,), table), tokens)


def attend(
    x: Float[Array, "*batch features"],
    table: Float[Array, "vocabulary all_features"],
    features: Extent,
) -> Float[Array, "*batch vocabulary"]:
    """Returns the product with every token's row: logits of a tied output head."""
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    scores = dispatch.run(Call(_Attend(), (features,), table), rows)
    return scores.reshape(*x.shape[:-1], table.shape[0])


Table = Float[Array, "vocabulary _"]


@dataclasses.dataclass(frozen=True)
class _Table(Operation):
    """What both uses of a table have in common."""

    @override
    def masked(self, extents: Extents, x: Array, weights: Table) -> Array:
        masked = restrict(weights, extents[0], axis=1)
        return static(self, masked.shape[1:], x, masked)


@dataclasses.dataclass(frozen=True)
class _Embed(_Table):
    @override
    def forward(self, sizes: Sizes, x: Array, weights: Table) -> tuple[Array, None]:
        return prefix(weights, None, *sizes)[x], None

    @override
    def backward(
        self, sizes: Sizes, x: Array, weights: Table, saved: None, gradient: Array
    ) -> tuple[None, Table]:
        # A sum over all places of a token, which bfloat16 is too coarse for.
        y_grad = widened(gradient[..., : sizes[0]])
        rows = jnp.zeros((weights.shape[0], *sizes), y_grad.dtype)
        return None, rows.at[x].add(y_grad)

    @override
    def work(self, sizes: Sizes, x: Array, weights: Table) -> int:
        return x.size * sizes[0]


@dataclasses.dataclass(frozen=True)
class _Attend(_Table):
    @override
    def forward(self, sizes: Sizes, x: Array, weights: Table) -> tuple[Array, None]:
        table = active(weights, x, None, *sizes)
        return prefix(x, None, *sizes) @ table.T, None

    @override
    def backward(
        self, sizes: Sizes, x: Array, weights: Table, saved: None, gradient: Array
    ) -> tuple[Array, Table]:
        table = active(weights, x, None, *sizes)
        return gradient @ table, (prefix(x, None, *sizes).T @ gradient).T

    @override
    def tiled(self, extents: Extents, x: Array, weights: Table) -> Array:
        return tiles.product(x, weights.T, extents[0], Fixed(weights.shape[0]))

    @override
    def refuses_tiles(self, x: Array, weights: Table) -> str | None:
        return tiles.refusal(x, *weights.T.shape)

    @override
    def work(self, sizes: Sizes, x: Array, weights: Table) -> int:
        return x.shape[0] * weights.shape[0] * sizes[0]
