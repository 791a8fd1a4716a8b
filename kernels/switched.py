"""Switched execution: one program whose cost follows the active size.

`jax.lax.switch` chooses among bodies of static sizes, in the forward pass and again in
the backward pass. Between the two goes one set of residuals, padded to the largest
choice. Under `jax.vmap` over subnets a switch would run every body for every subnet, so
there the operation runs masked.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Int

from kernels.extents import Fixed, Indexed
from kernels.operation import (
    Extents,
    Operation,
    Sizes,
    Tree,
    padded,
    padded_like,
    prefix,
)

Axes = tuple[int | tuple[int, ...], ...]
"""What is static of extents: a size, or the choices of an index."""

Picked = tuple[Int[Array, "*batch"], ...]
"""What is traced: the index of each `Indexed` extent, in order."""


def switched(operation: Operation, extents: Extents, x: Array, weights: Tree) -> Array:
    """Runs the one body that the extents select.

    Args:
        operation: The operation.
        extents: Each `Fixed` or `Indexed`.
        x: Its input, as wide as the largest choice.
        weights: Full-size weights.

    Returns:
        The output, padded with zeros to the largest choice.
    """
    picked = tuple(e.index for e in extents if isinstance(e, Indexed))
    return _switched(operation, _axes(extents), picked, x, weights)


def bodies(extents: Extents) -> list[Sizes]:
    """Returns the distinct sizes that the extents may select."""
    return list(dict.fromkeys(_grid(_axes(extents))))


def _axes(extents: Extents) -> Axes:
    return tuple(
        e.choices if isinstance(e, Indexed) else e.size
        for e in extents
        if isinstance(e, Fixed | Indexed)
    )


def _grid(axes: Axes) -> list[Sizes]:
    """Returns the sizes of every combination; one that has a zero computes nothing."""
    choices = [(axis,) if isinstance(axis, int) else axis for axis in axes]
    return [
        sizes if all(sizes) else (0,) * len(sizes)
        for sizes in itertools.product(*choices)
    ]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _switched(
    operation: Operation, axes: Axes, picked: Picked, x: Array, weights: Tree
) -> Array:
    return _Switch(operation, axes).forward(picked, x, weights, save=False)[0]


def _forward(
    operation: Operation, axes: Axes, picked: Picked, x: Array, weights: Tree
) -> tuple[Array, tuple[Picked, Array, Tree, Tree]]:
    y, saved = _Switch(operation, axes).forward(picked, x, weights, save=True)
    return y, (picked, x, weights, saved)


def _backward(
    operation: Operation,
    axes: Axes,
    kept: tuple[Picked, Array, Tree, Tree],
    gradient: Array,
) -> tuple[None, Array | None, Tree]:
    picked, x, weights, saved = kept
    switch = _Switch(operation, axes)
    return None, *switch.backward(picked, x, weights, saved, gradient)


_switched.defvjp(_forward, _backward)


@dataclasses.dataclass(frozen=True)
class _Switch:
    """The bodies of an operation, and the masked form that takes their place."""

    operation: Operation
    axes: Axes

    def forward(
        self, picked: Picked, x: Array, weights: Tree, *, save: bool
    ) -> tuple[Array, Tree]:
        """Returns the output and, if asked for, what the gradient needs."""
        y_shapes, kept = zip(
            *(self._shapes(sizes, x, weights) for sizes in self._distinct), strict=True
        )
        y_shape = _largest(*y_shapes)
        room = jax.tree.map(_largest, *kept)

        def body(sizes: Sizes, x: Array, weights: Tree) -> tuple[Array, Tree]:
            y, saved = self.operation.forward(sizes, x, weights)
            stored = jax.tree.map(_stored, saved, room) if save else None
            return padded_like(y, y_shape), stored

        def masked(picked: Picked, x: Array, weights: Tree) -> tuple[Array, Tree]:
            y = self.operation.masked(self._extents(picked), x, weights)
            # Nothing to keep: its gradient computes the forward pass again.
            empty = jax.tree.map(_zeros, room)
            return y, empty if save else None

        return self._choose(body, masked)(picked, x, weights)

    def backward(
        self, picked: Picked, x: Array, weights: Tree, stored: Tree, gradient: Array
    ) -> tuple[Array | None, Tree]:
        """Returns gradients in the shapes of the input and of the weights."""
        integers = not jnp.issubdtype(x.dtype, jnp.inexact)

        def body(
            sizes: Sizes, x: Array, weights: Tree, stored: Tree, gradient: Array
        ) -> tuple[Array | None, Tree]:
            shapes = self._shapes(sizes, x, weights)[1]
            saved = jax.tree.map(_restored, stored, shapes)
            x_grad, shared = self.operation.backward(sizes, x, weights, saved, gradient)
            x_grad = None if x_grad is None else padded_like(x_grad, x)
            return x_grad, padded_like(shared, weights)

        def masked(
            picked: Picked, x: Array, weights: Tree, _: Tree, gradient: Array
        ) -> tuple[Array | None, Tree]:
            run = functools.partial(self.operation.masked, self._extents(picked))
            _, pull = jax.vjp(run, x, weights)
            x_grad, shared = pull(gradient)
            return None if integers else x_grad, shared

        operands = (picked, x, weights, stored, gradient)
        return self._choose(body, masked)(*operands)

    def _choose(
        self, body: Callable[..., Tree], masked: Callable[..., Tree]
    ) -> Callable[..., Tree]:
        """Returns the switch over bodies, which maps over subnets as masked does."""
        rows = [self._distinct.index(sizes) for sizes in _grid(self.axes)]
        shape = [len(axis) for axis in self.axes if isinstance(axis, tuple)]
        table = np.asarray(rows, np.int32).reshape(shape)
        calls = [functools.partial(body, sizes) for sizes in self._distinct]

        def switch(picked: Picked, *operands: Tree) -> Tree:
            return jax.lax.switch(jnp.asarray(table)[picked], calls, *operands)

        return batchable(switch, masked)

    @property
    def _distinct(self) -> list[Sizes]:
        return list(dict.fromkeys(_grid(self.axes)))

    def _shapes(self, sizes: Sizes, x: Array, weights: Tree) -> tuple[Tree, Tree]:
        """Returns the shapes of a body's output and of what its gradient needs."""
        leaves, structure = jax.tree.flatten((x, weights))
        kinds = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
        return _body_shapes(self.operation, sizes, structure, kinds)

    def _extents(self, picked: Picked) -> Extents:
        left = iter(picked)
        return tuple(
            Fixed(axis) if isinstance(axis, int) else Indexed(next(left), axis)
            for axis in self.axes
        )


@functools.lru_cache(maxsize=1024)
def _body_shapes(
    operation: Operation,
    sizes: Sizes,
    structure: jax.tree_util.PyTreeDef,
    kinds: tuple[tuple[tuple[int, ...], jnp.dtype], ...],
) -> tuple[Tree, Tree]:
    """Remembered: layers are alike, and tracing each body of each takes a while."""
    leaves = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in kinds]
    x, weights = jax.tree.unflatten(structure, leaves)
    return jax.eval_shape(functools.partial(operation.forward, sizes), x, weights)


def batchable(
    switch: Callable[..., Tree], masked: Callable[..., Tree]
) -> Callable[..., Tree]:
    """Returns ``switch``, in whose place ``masked`` runs where its choice is mapped.

    Args:
        switch: Takes what it chooses by first, then operands; returns arrays.
        masked: The same function without a choice of program.
    """
    call = custom_vmap(switch)

    @call.def_vmap
    def _(
        axis_size: int, batched: Tree, picked: Tree, *operands: Tree
    ) -> tuple[Tree, Tree]:
        axes = jax.tree.map(_axis, tuple(batched))
        over = functools.partial(jax.vmap, in_axes=axes, axis_size=axis_size)
        mapped = over(masked)
        if not any(jax.tree.leaves(batched[0])):
            mapped = batchable(over(switch), mapped)
        result = mapped(picked, *operands)
        return result, jax.tree.map(bool, jax.tree.map(jnp.ndim, result))

    return call


def _largest(*shapes: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """Returns the shape that holds all of them."""
    sides = zip(*(shape.shape for shape in shapes), strict=True)
    return jax.ShapeDtypeStruct(tuple(map(max, sides)), shapes[0].dtype)


def _zeros(shape: jax.ShapeDtypeStruct) -> Array:
    return jnp.zeros(shape.shape, shape.dtype)


def _stored(part: Array, room: jax.ShapeDtypeStruct) -> Array:
    """Lays an array at the start of one that has room for that of any body.

    Matrices come from products, and are copied in one piece: row after row into zeros,
    which a barrier keeps XLA from making a padding of. Arrays of more axes come from
    loops, which write their padding too.
    """
    if part.shape == room.shape or len(room.shape) != 2:
        return padded(part, room.shape)
    empty = jax.lax.optimization_barrier(jnp.zeros(room.size, part.dtype))
    laid = jax.lax.dynamic_update_slice(empty, part.reshape(part.size), (0,))
    return laid.reshape(room.shape)


def _restored(stored: Array, shape: jax.ShapeDtypeStruct) -> Array:
    if stored.shape == shape.shape or len(shape.shape) != 2:
        return prefix(stored, *shape.shape)
    return prefix(stored.reshape(stored.size), shape.size).reshape(shape.shape)


def _axis(mapped: bool) -> int | None:
    return 0 if mapped else None
