"""An operation after its norm, added to what it read: the unit of a residual stream.

As one unit its norm and its sum are inside the bodies of a switch, where they are as
small as the subnet, and a skipped layer hands its input on without touching it.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float
from typing_extensions import override

from kernels.extents import runs
from kernels.operation import (
    Call,
    Extents,
    Operation,
    Sizes,
    Tree,
    padded_like,
    prefix,
)

Stream = Float[Array, "rows _"]


def residual(norm: Call, inner: Call) -> Call:
    """Returns ``x + inner(norm(x))`` as one operation.

    The norm runs on the first extent of ``inner``, that of the features, and not at all
    where ``inner`` is skipped.
    """
    weights = norm.weights, inner.weights
    return Call(Residual(norm.operation, inner.operation), inner.extents, weights)


@dataclasses.dataclass(frozen=True)
class Normalised(Operation):
    """An operation on its normalised input: what it adds to a stream."""

    norm: Operation
    inner: Operation

    @property
    @override
    def name(self) -> str:
        return self.inner.name

    @override
    def forward(
        self, sizes: Sizes, x: Stream, weights: tuple[Tree, Tree]
    ) -> tuple[Stream, Tree]:
        z = self._normalised(sizes, x, weights)
        return self.inner.forward(sizes, z, weights[1])

    @override
    def backward(
        self,
        sizes: Sizes,
        x: Stream,
        weights: tuple[Tree, Tree],
        saved: Tree,
        gradient: Stream,
    ) -> tuple[Stream | None, tuple[Tree, Tree]]:
        z = self._normalised(sizes, x, weights)
        inner = self.inner.backward(sizes, z, weights[1], saved, gradient)
        z_grad = padded_like(inner[0], z)
        x_grad, shared = self.norm.backward(sizes[:1], x, weights[0], None, z_grad)
        return x_grad, (shared, inner[1])

    def _normalised(
        self, sizes: Sizes, x: Stream, weights: tuple[Tree, Tree]
    ) -> Stream:
        """Computed again in the backward pass: cheaper than to keep and to read."""
        return self.norm.forward(sizes[:1], x, weights[0])[0]

    @override
    def masked(self, extents: Extents, x: Stream, weights: tuple[Tree, Tree]) -> Stream:
        z = self.norm.masked(extents[:1], x, _norm_weights(extents, weights[0]))
        return self.inner.masked(extents, z, weights[1])

    @override
    def tiled(self, extents: Extents, x: Stream, weights: tuple[Tree, Tree]) -> Stream:
        z = self.norm.masked(extents[:1], x, _norm_weights(extents, weights[0]))
        return self.inner.tiled(extents, z, weights[1])

    @override
    def refuses_tiles(self, x: Stream, weights: tuple[Tree, Tree]) -> str | None:
        return self.inner.refuses_tiles(x, weights[1])

    @override
    def work(self, sizes: Sizes, x: Stream, weights: tuple[Tree, Tree]) -> int:
        return self.inner.work(sizes, x, weights[1])

    @override
    def split(self, weights: tuple[Tree, Tree]) -> tuple[Tree, Tree] | None:
        inner = self.inner.split(weights[1])
        if inner is None:
            return None
        # One for all weights of the norm, which every device has.
        return PartitionSpec(), inner


@dataclasses.dataclass(frozen=True)
class Residual(Normalised):
    """Pre-norm residual form of an operation; a size of zero is the identity."""

    @override
    def forward(
        self, sizes: Sizes, x: Stream, weights: tuple[Tree, Tree]
    ) -> tuple[Stream, Tree]:
        y, saved = super().forward(sizes, x, weights)
        if not all(sizes):
            return x, saved
        return prefix(x, None, sizes[0]) + y, saved

    @override
    def backward(
        self,
        sizes: Sizes,
        x: Stream,
        weights: tuple[Tree, Tree],
        saved: Tree,
        gradient: Stream,
    ) -> tuple[Stream, tuple[Tree, Tree]]:
        x_grad, shared = super().backward(sizes, x, weights, saved, gradient)
        if x_grad is None or not all(sizes):
            return gradient, shared
        return prefix(gradient, None, sizes[0]) + x_grad.astype(x.dtype), shared

    @override
    def masked(self, extents: Extents, x: Stream, weights: tuple[Tree, Tree]) -> Stream:
        return x + super().masked(extents, x, weights)

    @override
    def tiled(self, extents: Extents, x: Stream, weights: tuple[Tree, Tree]) -> Stream:
        return x + super().tiled(extents, x, weights)

    @override
    def addend(self) -> Operation:
        return Normalised(self.norm, self.inner)


def _norm_weights(extents: Extents, weights: Tree) -> Tree:
    """Returns the weights of the norm, zero where the operation is skipped.

    Nobody reads the norm there, but a scale that went NaN in a layer that does not run
    would reach those that do: NaN times a weight that is masked to zero is NaN.
    """
    running = runs(extents[1:])
    if running is None:
        return weights
    return jax.tree.map(functools.partial(_selected, running), weights)


def _selected(running: Bool[Array, ""], weight: Array) -> Array:
    return jnp.where(running, weight, jnp.zeros((), weight.dtype))
