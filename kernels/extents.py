"""Extents: how much of an elastic dimension is active, and how that is known.

======================  ====================  ==========================================
extent                  holds                 how an operation runs
======================  ====================  ==========================================
``Fixed(size)``         a Python int          slices to static shapes
``Indexed(index, c)``   a traced int32        masks, switched slices, or a kernel
``Mixed(weights, c)``   traced probabilities  full shapes times the averaged prefix mask
======================  ====================  ==========================================

All three are pytrees whose sizes are static, so they pass through ``jit``, ``grad``,
``scan`` and ``vmap`` as arguments. The active part is always a prefix, and size 0 means
that the operation is skipped.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from kernels.executions import Execution
from kernels.mixtures import weighted


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=[], meta_fields=["size"]
)
@dataclasses.dataclass(frozen=True)
class Fixed:
    """A size known when the program is traced."""

    size: int


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["index"],
    meta_fields=["choices", "execution"],
)
@dataclasses.dataclass(frozen=True)
class Indexed:
    """The choice at a traced index: one program serves every choice."""

    index: Int[Array, "*batch"]
    choices: tuple[int, ...]
    execution: Execution = "auto"


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["weights", "factors"],
    meta_fields=["choices", "name"],
)
@dataclasses.dataclass(frozen=True)
class Mixed:
    """A mixture of choices, for architecture search by gradient.

    Averaging zero-padded prefixes of one weight is the superposition of TangleNAS
    (Sukthanker et al. 2024, Algorithm 1) at the memory of a single network.

    Attributes:
        weights: Probability of each choice.
        choices: Size of each choice.
        name: The decision that is mixed. Extents with the same name are taken for one
            decision by `restrict_axes`; without a name a mixture is independent.
        factors: The decisions that a product was made of (see `scaled`). Its weights
            and choices are those of their combinations, the last factor fastest.
    """

    weights: Float[Array, "*batch choices"]
    choices: tuple[int, ...]
    name: str = ""
    factors: tuple["Mixed", ...] = ()


Extent = Fixed | Indexed | Mixed


def resized(extent: Extent, resize: Callable[[int], int]) -> Extent:
    """Returns the same selection over other sizes, as heads to key-value heads."""
    if isinstance(extent, Fixed):
        return Fixed(resize(extent.size))
    sizes = tuple(resize(size) for size in extent.choices)
    return dataclasses.replace(extent, choices=sizes)


def scaled(base: Extent, factor: Extent) -> Extent:
    """Returns the extent of ``base * factor``, as hidden units are ratio times width.

    Two indexed extents give one over all pairs of their choices, in no order of size. A
    mixture remembers the decisions that it depends on, so that `restrict_axes` can tell
    that the sizes of a weight's axes change together.

    Raises:
        ValueError: If a mixture has no name, or the same decision is on both sides.
    """
    for extent in (base, factor):
        if isinstance(extent, Mixed) and not all(d.name for d in _decisions(extent)):
            raise ValueError(
                f"the mixture of {extent.choices} has no name: a product needs one to "
                "be told from an independent decision; give Mixed(..., name=)"
            )
    if isinstance(base, Fixed):
        return resized(factor, lambda size: base.size * size)
    if isinstance(factor, Fixed):
        return resized(base, lambda size: size * factor.size)
    if isinstance(base, Indexed) and isinstance(factor, Indexed):
        index = base.index * len(factor.choices) + factor.index
        return dataclasses.replace(base, index=index, choices=_pairs(base, factor))
    return _crossed(_mixed(base), _mixed(factor))


def gated(extent: Extent, gate: Extent) -> Extent:
    """Returns the extent where the gate is 1 and size 0 where the gate is 0.

    A layer that is skipped is a layer whose heads and feed-forward units are all off.
    A gate selects between the sizes ``(0, 1)``. A soft gate makes the sizes soft; what
    a layer gives is mixed by `kernels.mixtures.mixture` instead.
    """
    if isinstance(gate, Fixed):
        if gate.size:
            return extent
        return Fixed(0)
    if isinstance(extent, Fixed):
        return dataclasses.replace(gate, choices=(0, extent.size))
    if isinstance(extent, Indexed) and isinstance(gate, Indexed):
        index = (extent.index + 1) * gate.index
        choices = (0, *extent.choices)
        return dataclasses.replace(extent, index=index, choices=choices)
    return _crossed(_mixed(extent), _mixed(gate))


def _mixed(extent: Indexed | Mixed) -> Mixed:
    if isinstance(extent, Mixed):
        return extent
    one_hot = jax.nn.one_hot(extent.index, len(extent.choices))
    return Mixed(one_hot, extent.choices)


def _decisions(extent: Mixed) -> tuple[Mixed, ...]:
    return extent.factors or (extent,)


def _pairs(base: Indexed | Mixed, factor: Indexed | Mixed) -> tuple[int, ...]:
    return tuple(b * f for b, f in itertools.product(base.choices, factor.choices))


def _crossed(base: Mixed, factor: Mixed) -> Mixed:
    factors = _decisions(base) + _decisions(factor)
    names = [decision.name for decision in factors if decision.name]
    if len(set(names)) < len(names):
        raise ValueError(
            f"a product of decisions {names} repeats one: multiply independent ones; "
            "resized gives a size that one decision decides alone"
        )
    joint = base.weights[..., :, None] * factor.weights[..., None, :].astype(
        base.weights.dtype
    )
    weights = joint.reshape(*base.weights.shape[:-1], -1)
    return Mixed(weights, _pairs(base, factor), factors=factors)


def largest_size(extent: Extent) -> int:
    """Returns the size of the largest choice."""
    return extent.size if isinstance(extent, Fixed) else max(extent.choices)


def active_size(extent: Extent) -> int | Float[Array, ""]:
    """Returns the (expected) number of active entries."""
    if isinstance(extent, Fixed):
        return extent.size
    if isinstance(extent, Indexed):
        return jnp.asarray(extent.choices, jnp.float32)[extent.index]
    return jnp.sum(extent.weights * jnp.asarray(extent.choices, extent.weights.dtype))


def runs(extents: Iterable[Extent]) -> Bool[Array, ""] | None:
    """Returns whether an operation runs, as it does unless one of its sizes is 0.

    None, where that is certain.
    """
    masks = [
        prefix_mask(extent, 1)[0].astype(bool)
        for extent in extents
        if _smallest_size(extent) == 0
    ]
    return functools.reduce(jnp.logical_and, masks) if masks else None


def _smallest_size(extent: Extent) -> int:
    return extent.size if isinstance(extent, Fixed) else min(extent.choices)


def prefix_mask(extent: Extent, full: int) -> Array:
    """Returns the mask over a dimension: float for `Mixed`, else bool.

    Entry ``u`` of the soft mask is the tail sum of the probabilities of the choices
    that reach beyond ``u`` (the closed form of TangleNAS, Algorithm 1).
    """
    if isinstance(extent, Fixed):
        return jnp.arange(full) < extent.size
    sizes = jnp.asarray(extent.choices)
    if isinstance(extent, Indexed):
        return jnp.arange(full) < sizes[extent.index]
    return _matmul(extent.weights, _reached(sizes, full).astype(extent.weights.dtype))


def _reached(sizes: Int[Array, "*choices"], full: int) -> Bool[Array, "*choices full"]:
    """Returns which positions each size reaches."""
    positions = jnp.arange(full).reshape((1,) * sizes.ndim + (full,))
    return positions < sizes[..., None]


# Some devices round the factors of a product to bfloat16 unless told otherwise.
_matmul = functools.partial(jnp.matmul, precision="highest")
_einsum = functools.partial(jnp.einsum, precision="highest", optimize="optimal")


def restrict(array: Array, extent: Extent, axis: int) -> Array:
    """Returns the active part of an array along one axis.

    Slices for `Fixed`. Otherwise slices to the largest choice, and what is inactive of
    it becomes zero: a hard mask selects, so NaN or Inf in inactive entries never leaks
    and gradients there are exactly zero. A soft mask keeps them out where it is 0
    (`mixtures.weighted`).
    """
    largest = largest_size(extent)
    if largest < array.shape[axis]:
        array = jax.lax.slice_in_dim(array, 0, largest, axis=axis)
    if isinstance(extent, Fixed):
        return array
    full = array.shape[axis]
    shape = [1] * array.ndim
    shape[axis] = full
    mask = prefix_mask(extent, full).reshape(shape)
    if isinstance(extent, Indexed):
        return jnp.where(mask, array, jnp.zeros((), array.dtype))
    return weighted(array, mask)


def restrict_axes(array: Array, extents: Mapping[int, Extent]) -> Array:
    """Returns the active part of an array along several axes.

    Independent extents restrict one axis after the other: their masks multiply. Those
    that share a decision are averaged together over it (TangleNAS, Algorithm 2), which
    one axis after the other cannot express: the mask need not be of rank one.

    Args:
        array: A full-size weight.
        extents: Extent of each elastic axis, counted from the left.
    """
    coupled = _coupled(extents)
    for axis, extent in extents.items():
        if axis not in coupled:
            array = restrict(array, extent, axis)
    if not coupled:
        return array
    mask = _joint_mask(coupled, array.shape)
    rest = [axis for axis in range(array.ndim) if axis not in coupled]
    return weighted(array, jnp.expand_dims(mask, rest))


def _coupled(extents: Mapping[int, Extent]) -> dict[int, Mixed]:
    """Returns the mixtures that share a decision with one on another axis."""
    mixed = {axis: e for axis, e in extents.items() if isinstance(e, Mixed)}
    names = {axis: {d.name for d in _decisions(e)} - {""} for axis, e in mixed.items()}
    return {
        axis: extent
        for axis, extent in mixed.items()
        if any(names[axis] & names[other] for other in mixed if other != axis)
    }


def _joint_mask(extents: Mapping[int, Mixed], shape: tuple[int, ...]) -> Array:
    """Returns the sum of padded boxes over all decisions, each with its probability.

    For rows ``w_i`` and columns ``w_i r_j``: ``sum_i p_i [row < w_i] c_i[column]`` with
    ``c_i = sum_j q_j [column < w_i r_j]``: a term of rank one for each ``w_i`` instead
    of a padded weight for each pair. `einsum`, whose indices are the axes and then the
    decisions, finds this order of contractions.
    """
    label_of: dict[object, int] = {}
    operands: list[Any] = []
    for axis, extent in extents.items():
        labels: list[int] = []
        for position, decision in enumerate(_decisions(extent)):
            key = decision.name or (axis, position)
            if key not in label_of:
                label_of[key] = len(shape) + len(label_of)
                operands += [decision.weights, [label_of[key]]]
            labels.append(label_of[key])
        counts = [len(decision.choices) for decision in _decisions(extent)]
        sizes = jnp.asarray(extent.choices).reshape(counts)
        reached = _reached(sizes, shape[axis])
        operands += [reached.astype(extent.weights.dtype), [*labels, axis]]
    return _einsum(*operands, sorted(extents))
