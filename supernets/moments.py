"""Which parts of an optimiser's state belong to which weight."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import PyTree

from supernets.weights import Params


def of_weights(
    optimizer: optax.GradientTransformation,
    state: optax.OptState,
    params: Params,
    tree: PyTree,
    *,
    along: Callable[[Any, int], object],
    otherwise: object,
) -> PyTree:
    """Returns a tree like a state, with what belongs to each weight in its place.

    Args:
        optimizer: Whose state it is.
        state: Its state.
        params: The weights.
        tree: What belongs to each weight, in the structure of the weights.
        along: Takes what belongs to a weight, and an axis; returns what belongs to a
            mean over that axis, as of Adafactor.
        otherwise: What takes the place of state that is of no weight, as of counts.

    Raises:
        ValueError: If the optimiser keeps, of a weight, something of another shape.
    """

    def place(kept: _Kept, weight: jax.Array, leaf: object) -> object:
        if kept.shape == weight.shape:
            return leaf
        if (axis := kept.mean_over(weight.shape)) is not None:
            return along(leaf, axis)
        if kept.factored and kept.shape == (1,):
            return otherwise
        raise ValueError(
            f"the optimiser keeps an array of shape {kept.shape} of a weight of "
            f"shape {weight.shape}, so entries of one are not those of the other; "
            "use one with moments as its weights are, as AdamW, or factored as those "
            "of Adafactor"
        )

    def other(_: Any) -> object:  # noqa: ANN401 - Optax calls it with any leaf
        return otherwise

    return optax.tree_utils.tree_map_params(
        optimizer.init, place, _kept(state), params, tree, transform_non_params=other
    )


@dataclasses.dataclass(frozen=True)
class _Kept:
    """An array of a state; no pytree, so that it is a leaf in a tree of them.

    Attributes:
        shape: Its own.
        factored: Whether it is of a factored moment.
        rank: Where the axis that it is a mean over comes, of those of its weight from
            smallest to largest; none if it has them all.
    """

    shape: tuple[int, ...]
    factored: bool = False
    rank: int | None = None

    def mean_over(self, shape: tuple[int, ...]) -> int | None:
        """Returns the axis of a weight that it is a mean over, if it is one."""
        if self.rank is None or len(shape) < 2:
            return None
        axis = int(np.argsort(shape)[self.rank])
        return axis if self.shape == (*shape[:axis], *shape[axis + 1 :]) else None


def _kept(state: optax.OptState) -> PyTree:
    """Returns what is known of each array of a state, before any weight is."""

    def factors(tree: PyTree, rank: int | None = None) -> PyTree:
        def one(leaf: jax.Array) -> _Kept:
            return _Kept(leaf.shape, factored=True, rank=rank)

        return jax.tree.map(one, tree)

    def each(node: PyTree) -> PyTree:
        if not isinstance(node, optax.FactoredState):
            return _Kept(node.shape)
        # Optax averages over the two largest axes, in the order of `argsort`.
        return node._replace(
            count=factors(node.count),
            v_row=factors(node.v_row, rank=-1),
            v_col=factors(node.v_col, rank=-2),
            v=factors(node.v),
        )

    def is_factored(node: PyTree) -> bool:
        return isinstance(node, optax.FactoredState)

    return jax.tree.map(each, state, is_leaf=is_factored)
