"""Which parts of an optimiser's state belong to which weight."""

from typing import Any

import jax
import optax
from jaxtyping import PyTree

from supernets.weights import Params


def of_weights(
    optimizer: optax.GradientTransformation,
    state: optax.OptState,
    params: Params,
    tree: PyTree,
    *,
    otherwise: object,
) -> PyTree:
    """Returns a tree like a state, with what belongs to each weight in its place.

    Args:
        optimizer: Whose state it is.
        state: Its state.
        params: The weights.
        tree: What belongs to each weight, in the structure of the weights.
        otherwise: What takes the place of state that is of no weight, as of counts.

    Raises:
        ValueError: If the optimiser keeps, of a weight, something of another shape, as
            factored moments are.
    """

    def place(kept: jax.Array, weight: jax.Array, leaf: object) -> object:
        if kept.shape != weight.shape:
            raise ValueError(
                f"the optimiser keeps an array of shape {kept.shape} of a weight of "
                f"shape {weight.shape}, so entries of one are not those of the other; "
                "use one with moments as its weights are, as AdamW"
            )
        return leaf

    def other(_: Any) -> object:  # noqa: ANN401 - Optax calls it with any leaf
        return otherwise

    return optax.tree_utils.tree_map_params(
        optimizer.init, place, state, params, tree, transform_non_params=other
    )
