"""Sorting channels by importance, so that smaller subnets get those that matter.

A subnet is a prefix of each weight, so channels that matter most should come first. In
a network that was trained as a whole they lie anywhere: before a size is opened, they
are sorted by the L1 norm of the weights that read them, the same way in all weights
that hold them (Once-for-All, Cai 2020, section 3.3). The full network stays the same
function. Its subnets change, so sizes that were trained before keep their channels,
whose order alone changes.
"""

import dataclasses
import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from search.space import Choice, Space
from supernets.dimensions import Path, Stored, stored_weights
from supernets.lowering import (
    Dimension,
    Groups,
    Scaled,
    full_size,
    size_choices,
    sizes_of,
)
from supernets.moments import of_weights
from supernets.training import TrainState
from supernets.weights import Params


class Axis(NamedTuple):
    """An axis of a weight.

    Attributes:
        path: Of the weight.
        number: Of the axis.
        dimension: What it holds, not a plain size.
        reads: Whether the weight takes the channels as its input: of a matrix, the
            first axis is what it reads.
    """

    path: Path
    number: int
    dimension: Choice | Scaled
    reads: bool


class Channels(NamedTuple):
    """Channels that are elastic together, and where they are held.

    Attributes:
        names: Of the choices that decide how many there are.
        layer: Whose they are; ``None`` if they are those of the whole network.
        axes: That hold them, each an equal number of entries for each channel. Query
            heads with the key-value head that they share are one.
        ends: Of the parts that are sorted by themselves; the last is their number.
    """

    names: tuple[str, ...]
    layer: int | None
    axes: tuple[Axis, ...]
    ends: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many there are."""
        return self.ends[-1]


def sort_state(
    supernet: nnx.Module,
    space: Space,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    names: Collection[str],
    *,
    within: Mapping[str, Collection[int]] | None = None,
) -> TrainState:
    """Returns the state with channels sorted, in weights, averages and moments alike.

    Training goes on as if channels had been in this order from the start. Logits of the
    largest subnet do not change; its features do change places where the model width is
    sorted, so that a frozen teacher whose features are learnt must be sorted with it.

    Args:
        supernet: The supernet; it may have shapes in place of parameters.
        space: Its search space.
        optimizer: Whose state it is.
        state: To sort; it stays valid.
        names: Of the choices whose channels are sorted, as ``ffn`` or ``width``.
        within: By choice, sizes whose subnets have been trained: they keep their
            channels, so that they stay what they are (see `trained_sizes`).

    Raises:
        ValueError: If a name is not that of a size in the space, if a size is not one
            of its values, or if the optimiser keeps something of another shape of a
            weight.
    """
    groups = channels_of(supernet, space, names, within=within)

    def sort(state: TrainState) -> TrainState:
        moves: dict[Path, list[_Move]] = {}
        for channels in groups:
            order = _order(importance_of(state.params, channels), channels.ends)
            for axis in channels.axes:
                moves.setdefault(axis.path, []).append(_Move(axis.number, order))
        tree = nnx.from_flat_state(
            (path, variable.replace(_Moves(tuple(moves.get(path, ())))))
            for path, variable in nnx.to_flat_state(state.params)
        )
        kept = of_weights(
            optimizer,
            state.optimizer,
            state.params,
            tree,
            along=_Moves.without,
            otherwise=_Moves(()),
        )
        average = None if state.average is None else tree
        return jax.tree.map(_moved, state, TrainState(tree, kept, average))

    shardings = jax.tree.map(_sharding, state)
    return jax.jit(sort, out_shardings=shardings)(state)


def trained_sizes(spaces: Iterable[Space]) -> dict[str, tuple[int, ...]]:
    """Returns the sizes of each choice that subnets of some spaces have.

    Args:
        spaces: Of the phases before, parts of the space of the supernet.
    """
    found: dict[str, set[int]] = {}
    for space in spaces:
        for choice in size_choices(space):
            found.setdefault(choice.name, set()).update(sizes_of(choice))
    return {name: tuple(sorted(sizes)) for name, sizes in found.items()}


def channels_of(
    supernet: nnx.Module,
    space: Space,
    names: Collection[str],
    *,
    within: Mapping[str, Collection[int]] | None = None,
) -> list[Channels]:
    """Returns the channels that are sorted by the given names.

    Those of a choice for each layer are the layer's own. Those of one for the whole
    network are in the same order everywhere, since layers hand them on. A dimension
    that two choices make together, as hidden units by width and ratio, has channels of
    its own, which either name sorts.

    Args:
        supernet: The supernet; it may have shapes in place of parameters.
        space: Its search space.
        names: Of choices.
        within: See `sort_state`.

    Raises:
        ValueError: If a name is not that of a size in the space, a size is not one of
            its values, or channels share scales in groups.
    """
    sizes = {choice.name: choice for choice in size_choices(space)}
    if unknown := [name for name in (*names, *(within or {})) if name not in sizes]:
        raise ValueError(
            f"{unknown[0]!r} has no channels to sort; sizes are {list(sizes)}"
        )
    trained: dict[str, Sequence[int]] = {}
    for name, kept in (within or {}).items():
        choice = sizes[name]
        # Refuses what is not one of its values.
        choice.keep(tuple(kept))
        trained[name] = (*kept, full_size(choice))
    held: dict[tuple[tuple[str, ...], int | None], list[Axis]] = {}
    for stored in stored_weights(supernet):
        _require_no_groups(stored, names)
        for axis in _elastic_axes(stored):
            choices = _choices(axis.dimension)
            layer = stored.layer if any(c.per_layer for c in choices) else None
            key = tuple(sorted(choice.name for choice in choices)), layer
            held.setdefault(key, []).append(axis)
    return [
        Channels(key[0], key[1], tuple(axes), _ends(axes, trained))
        for key, axes in held.items()
        if set(key[0]) & set(names)
    ]


def importance_of(params: Params, channels: Channels) -> Float[Array, " channels"]:
    """Returns the L1 norm of the weights that read each channel.

    Where nobody does, as of what only biases hold, that of all weights that hold it.

    Args:
        params: Of the supernet.
        channels: Of it.
    """
    weights: dict[Path, Array] = {
        path: variable[...] for path, variable in nnx.to_flat_state(params)
    }
    readers = [axis for axis in channels.axes if axis.reads] or channels.axes
    total = jnp.zeros(channels.size)
    for axis in readers:
        weight = jnp.abs(weights[axis.path])
        parts = jnp.moveaxis(weight, axis.number, 0).reshape(channels.size, -1)
        total += jnp.sum(parts, axis=1)
    return total


def _elastic_axes(stored: Stored) -> list[Axis]:
    rows = stored.rows is not None
    matrix = len(stored.dimensions) > 1 and not rows
    return [
        Axis(stored.path, number, dimension, matrix and number == 0)
        for number, dimension in enumerate(stored.dimensions, start=rows)
        if isinstance(dimension, Choice | Scaled) and _choices(dimension)
    ]


def _require_no_groups(stored: Stored, names: Collection[str]) -> None:
    for dimension in stored.dimensions:
        if not isinstance(dimension, Groups):
            continue
        if taken := {choice.name for choice in _choices(dimension.of)} & set(names):
            raise ValueError(
                f"channels of {min(taken)!r} share scales in groups of "
                f"{dimension.size}, which sorting would mix: do not sort them, or let "
                "granularity be 'channel'"
            )


def _choices(dimension: Dimension) -> list[Choice]:
    parts: Sequence[Dimension] = (dimension,)
    if isinstance(dimension, Scaled):
        parts = dimension.base, dimension.factor
    return [part for part in parts if isinstance(part, Choice)]


def _ends(
    axes: Sequence[Axis], trained: Mapping[str, Sequence[int]]
) -> tuple[int, ...]:
    """Returns where the parts end that are sorted by themselves.

    Channels are as many as divide all axes: of eight query heads and four key-value
    heads, four pairs with the head that they share.
    """
    full = [full_size(axis.dimension) for axis in axes]
    count, dimension = math.gcd(*full), axes[0].dimension

    def open_sizes(part: Choice | int) -> Sequence[int]:
        name = part.name if isinstance(part, Choice) else ""
        return trained.get(name, (full_size(part),))

    if isinstance(dimension, Scaled):
        pairs = itertools.product(
            open_sizes(dimension.base), open_sizes(dimension.factor)
        )
        sizes = {base * factor // dimension.divisor for base, factor in pairs}
    else:
        sizes = set(open_sizes(dimension))
    return tuple(sorted({size * count // full[0] for size in sizes if size}))


def _order(
    importance: Float[Array, " channels"], ends: tuple[int, ...]
) -> Int[Array, " channels"]:
    """Returns which channel comes where: the most important first, in each part."""
    starts = (0, *ends[:-1])
    parts = [
        start + jnp.argsort(importance[start:end], descending=True)
        for start, end in zip(starts, ends, strict=True)
    ]
    return jnp.concatenate(parts)


class _Move(NamedTuple):
    """What happens to one axis of a weight."""

    axis: int
    order: Int[Array, " channels"]


@dataclasses.dataclass(frozen=True, eq=False)
class _Moves:
    """What happens to a weight; no pytree, so that it is a leaf in a tree of them."""

    moves: tuple[_Move, ...]

    def without(self, axis: int) -> "_Moves":
        """Returns what happens to the mean of a weight over an axis."""
        return _Moves(
            tuple(
                move._replace(axis=move.axis - (move.axis > axis))
                for move in self.moves
                if move.axis != axis
            )
        )


def _moved(array: Array, moves: _Moves) -> Array:
    for axis, order in moves.moves:
        before, after = array.shape[:axis], array.shape[axis + 1 :]
        channels = array.reshape(*before, len(order), -1, *after)
        array = jnp.take(channels, order, axis=axis).reshape(array.shape)
    return array


def _sharding(leaf: Array) -> jax.sharding.Sharding | None:
    """Returns where an array has to stay; whatever reads the rest compiles as before.

    A step is compiled again for arrays that are tied to a device and had not been.
    """
    return leaf.sharding if leaf.committed else None
