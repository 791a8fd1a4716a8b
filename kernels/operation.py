"""What an elastic operation is: a computation on static sizes, with its gradient.

An operation is written once, on the active sizes of its elastic dimensions. How a
traced size reaches it is the business of `kernels.dispatch`: masked weights at full
size, or a switch over the static sizes (`kernels.switched`). The gradient is written
out because a switch must save one set of residuals whose shapes do not depend on the
branch, where autodiff would save those of every branch.
"""

import functools
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from kernels.extents import Extent

Sizes = tuple[int, ...]
"""One active size for each elastic dimension of an operation, in its own order."""

Extents = tuple[Extent, ...]

Tree = PyTree
"""Arrays in a structure that depends on the operation: its weights, its residuals."""


@runtime_checkable
class Operation(Protocol):
    """An elastic operation. Implementations are frozen dataclasses of static values.

    ``x`` may be wider than the active size: an operation reads its prefix. What it
    returns lives on the active sizes; the caller pads it with zeros. It computes in the
    type of ``x``, whatever the type in which weights are stored.
    """

    @property
    def name(self) -> str:
        """What it is called where executions are told."""
        return type(self).__name__.removeprefix("_")

    def forward(self, sizes: Sizes, x: Array, weights: Tree) -> tuple[Array, Tree]:
        """Returns the output and what the gradient needs beside x and the weights."""
        ...

    def backward(
        self, sizes: Sizes, x: Array, weights: Tree, saved: Tree, gradient: Array
    ) -> tuple[Array | None, Tree]:
        """Returns the gradients of x (None for integers) and of the weights."""
        ...

    def masked(self, extents: Extents, x: Array, weights: Tree) -> Array:
        """Returns the output at full size, with weights masked to traced extents.

        Masks are on weights and not on activations, which is what `Mixed` means, and
        keeps NaN and Inf of inactive weights out of values and gradients.
        """
        ...

    def tiled(self, extents: Extents, x: Array, weights: Tree) -> Array:
        """Returns the output at full size from kernels that skip inactive tiles.

        Masked, unless there are such kernels: what has no matrix product needs none.
        """
        return self.masked(extents, x, weights)

    def refuses_tiles(self, x: Array, weights: Tree) -> str | None:  # noqa: ARG002
        """Returns why `tiled` cannot run here, or None if it can."""
        return None

    def work(self, sizes: Sizes, x: Array, weights: Tree) -> int:
        """Returns the multiply-accumulates, or elements touched, of a forward pass."""
        ...

    def split(self, weights: Tree) -> Tree | None:  # noqa: ARG002
        """Returns the `PartitionSpec` of each weight where devices share the work.

        None, if every device does all of it. One that splits has two extents, of the
        features and of the units that are dealt out (`kernels.parallel`), and its
        output is the sum of what all devices' units give.
        """
        return None

    def addend(self) -> "Operation":
        """Returns what it adds to its input, or itself if it adds nothing to it."""
        return self


class Call(NamedTuple):
    """An operation with all that it needs but its input; see `kernels.dispatch`."""

    operation: Operation
    extents: Extents
    weights: Tree


def prefix(array: Array, *sizes: int | None) -> Array:
    """Returns the leading part of an array: one size for each axis, None for all."""
    wanted = tuple(
        stored if size is None else min(size, stored)
        for size, stored in zip(sizes, array.shape, strict=True)
    )
    if wanted == array.shape:
        return array
    return jax.lax.slice(array, (0,) * array.ndim, wanted)


def active(weight: Array, x: Array, *sizes: int | None) -> Array:
    """Returns the prefix of a weight in the type of the activations it meets."""
    return prefix(weight, *sizes).astype(x.dtype)


def widened(x: Array) -> Array:
    """Returns an array in at least float32: statistics and sums need its precision."""
    return x.astype(jnp.float32) if jnp.finfo(x.dtype).bits < 32 else x


def padded(array: Array, shape: tuple[int, ...]) -> Array:
    """Returns the array with zeros after it on every axis, up to a shape."""
    if array.shape == shape:
        return array
    ends = [(0, new - old, 0) for old, new in zip(array.shape, shape, strict=True)]
    return jax.lax.pad(array, jnp.zeros((), array.dtype), ends)


def padded_like(tree: Tree, like: Tree) -> Tree:
    """Returns the arrays of a tree in the shapes and types of their counterparts."""
    return jax.tree.map(_padded_to, tree, like)


def _padded_to(part: Array, whole: Array | jax.ShapeDtypeStruct) -> Array:
    return padded(part, whole.shape).astype(whole.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def static(operation: Operation, sizes: Sizes, x: Array, weights: Tree) -> Array:
    """Runs an operation on sizes known when the program is traced.

    Args:
        operation: The operation.
        sizes: Its active sizes.
        x: Its input.
        weights: Full-size weights, or a prefix of them that holds the active part.
    """
    return operation.forward(sizes, x, weights)[0]


def _static_forward(
    operation: Operation, sizes: Sizes, x: Array, weights: Tree
) -> tuple[Array, tuple[Array, Tree, Tree]]:
    y, saved = operation.forward(sizes, x, weights)
    return y, (x, weights, saved)


def _static_backward(
    operation: Operation, sizes: Sizes, kept: tuple[Array, Tree, Tree], gradient: Array
) -> tuple[Array | None, Tree]:
    x, weights, saved = kept
    x_grad, weights_grad = operation.backward(sizes, x, weights, saved, gradient)
    x_grad = None if x_grad is None else padded_like(x_grad, x)
    return x_grad, padded_like(weights_grad, weights)


static.defvjp(_static_forward, _static_backward)
