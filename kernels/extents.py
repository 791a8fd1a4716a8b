"""Extents: how much of an elastic dimension is active, and how that is known.

======================  ====================  ==========================================
extent                  holds                 how an operation runs
======================  ====================  ==========================================
``Fixed(size)``         a Python int          slices to static shapes
``Indexed(index, c)``   a traced int32        full shapes times a prefix mask
``Mixed(weights, c)``   traced probabilities  full shapes times the averaged prefix mask
======================  ====================  ==========================================

All three are pytrees whose sizes are static, so they pass through ``jit``, ``grad``,
``scan`` and ``vmap`` as arguments. The active part is always a prefix, and size 0 means
that the operation is skipped.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=[], meta_fields=["size"]
)
@dataclasses.dataclass(frozen=True)
class Fixed:
    """A size known when the program is traced."""

    size: int


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["index"], meta_fields=["choices"]
)
@dataclasses.dataclass(frozen=True)
class Indexed:
    """The choice at a traced index: one program serves every choice."""

    index: Int[Array, "*batch"]
    choices: tuple[int, ...]


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["weights"], meta_fields=["choices"]
)
@dataclasses.dataclass(frozen=True)
class Mixed:
    """A mixture of choices, for architecture search by gradient.

    Averaging zero-padded prefixes of one weight is the superposition of TangleNAS
    (Sukthanker et al. 2024, Algorithm 1) at the memory of a single network.
    """

    weights: Float[Array, "*batch choices"]
    choices: tuple[int, ...]


Extent = Fixed | Indexed | Mixed


def resized(extent: Extent, resize: Callable[[int], int]) -> Extent:
    """Returns the same selection over other sizes, as heads to key-value heads."""
    if isinstance(extent, Fixed):
        return Fixed(resize(extent.size))
    sizes = tuple(resize(size) for size in extent.choices)
    return dataclasses.replace(extent, choices=sizes)


def gated(extent: Extent, gate: Extent) -> Extent:
    """Returns the extent where the gate is 1 and size 0 where the gate is 0.

    A layer that is skipped is a layer whose heads and feed-forward units are all off.
    A gate selects between the sizes ``(0, 1)``.
    """
    if isinstance(gate, Fixed):
        if gate.size:
            return extent
        return Fixed(0)
    if isinstance(extent, Fixed):
        return dataclasses.replace(gate, choices=(0, extent.size))
    choices = (0, *extent.choices)
    if isinstance(extent, Indexed) and isinstance(gate, Indexed):
        return Indexed((extent.index + 1) * gate.index, choices)
    weights, on = _probabilities(extent), _probabilities(gate)
    off = on[..., :1]
    return Mixed(jnp.concatenate([off, weights * on[..., 1:]], axis=-1), choices)


def _probabilities(extent: Indexed | Mixed) -> Float[Array, "*batch choices"]:
    if isinstance(extent, Mixed):
        return extent.weights
    return jax.nn.one_hot(extent.index, len(extent.choices))


def active_size(extent: Extent) -> int | Float[Array, ""]:
    """Returns the (expected) number of active entries."""
    if isinstance(extent, Fixed):
        return extent.size
    sizes = jnp.asarray(extent.choices, jnp.float32)
    if isinstance(extent, Indexed):
        return sizes[extent.index]
    return extent.weights @ sizes


def prefix_mask(extent: Indexed | Mixed, full: int) -> Array:
    """Returns the mask over a dimension: bool for `Indexed`, float for `Mixed`.

    Entry ``u`` of the soft mask is the tail sum of the probabilities of the choices
    that reach beyond ``u`` (the closed form of TangleNAS, Algorithm 1).
    """
    positions = jnp.arange(full)
    sizes = jnp.asarray(extent.choices)
    if isinstance(extent, Indexed):
        return positions < sizes[extent.index]
    reached = (positions[None, :] < sizes[:, None]).astype(extent.weights.dtype)
    return extent.weights @ reached


def restrict(array: Array, extent: Extent, axis: int) -> Array:
    """Returns the active part of an array along one axis.

    Slices for `Fixed`. Otherwise the shape stays and what is inactive becomes zero: a
    hard mask selects, so NaN or Inf in inactive entries never leaks and gradients there
    are exactly zero.
    """
    full = array.shape[axis]
    if isinstance(extent, Fixed):
        if extent.size == full:
            return array
        return jax.lax.slice_in_dim(array, 0, extent.size, axis=axis)
    shape = [1] * array.ndim
    shape[axis] = full
    mask = prefix_mask(extent, full).reshape(shape)
    if isinstance(extent, Indexed):
        return jnp.where(mask, array, jnp.zeros((), array.dtype))
    return array * mask.astype(array.dtype)
