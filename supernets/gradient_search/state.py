"""The state of a search by gradient, what a step is given, and what it tells."""

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree

from supernets.gradient_search.decisions import Decisions
from supernets.losses.loss import Batch
from supernets.weights import Params

Tree = TypeVar("Tree", bound=PyTree)


class Batches(NamedTuple):
    """What a step learns from.

    Attributes:
        architecture: What logits learn from, unless the regime is joint.
        weights: What weights learn from, if they do; in the joint regime logits too.
    """

    architecture: Batch | None = None
    weights: Batch | None = None


class ArchitectureState(NamedTuple):
    """What is searched.

    Attributes:
        logits: By decision.
        optimizer: The state of their optimiser.
        multipliers: Of the bounds.
    """

    logits: Decisions
    optimizer: optax.OptState
    multipliers: Float[Array, " bounds"]


class SearchState(NamedTuple):
    """What a step changes; everything that must be saved to resume exactly.

    Attributes:
        architecture: What is searched.
        params: The weights.
        optimizer: The state of their optimiser; none where they stand still.
    """

    architecture: ArchitectureState
    params: Params
    optimizer: optax.OptState | None = None


class SearchMetrics(NamedTuple):
    """What a step tells; all but the loss are of the state that it leaves.

    Attributes:
        loss: Of the mixture that the architecture learned from, in nats.
        costs: Expected, as shares of the limits.
        genotype: Each decision's most probable choice.
        decoded_costs: Of that subnet, as shares of the limits.
        multipliers: Of the bounds.
        certainty: Mean probability of the most probable choices.
        gradient_norm: Of the logits. If it, or that of weights that learn, is not
            finite, the step changed nothing.
    """

    loss: Float[Array, ""]
    costs: Float[Array, " bounds"]
    genotype: Int[Array, " genes"]
    decoded_costs: Float[Array, " bounds"]
    multipliers: Float[Array, " bounds"]
    certainty: Float[Array, ""]
    gradient_norm: Float[Array, ""]


def to_arrays(tree: PyTree) -> dict[str, np.ndarray]:
    """Returns the leaves of a state by their path, to be saved.

    A part of a state is one too: weights that stand still need not be saved again.
    """
    paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in paths}


def from_arrays(like: Tree, arrays: Mapping[str, np.ndarray]) -> Tree:
    """Returns the state that `to_arrays` was given.

    Args:
        like: A state of the same search.
        arrays: What was saved.

    Raises:
        ValueError: If names or shapes are not those of the state, saying which.
    """
    paths, structure = jax.tree_util.tree_flatten_with_path(like)
    expected = {jax.tree_util.keystr(path): leaf for path, leaf in paths}
    if wrong := sorted(expected.keys() ^ arrays.keys()):
        raise ValueError(
            f"the saved search does not fit: {wrong[0]!r} is only in "
            f"{'it' if wrong[0] in arrays else 'this one'}; start a new one"
        )
    for name, leaf in expected.items():
        if np.shape(arrays[name]) != np.shape(leaf):
            raise ValueError(
                f"the saved search does not fit: {name!r} has shape "
                f"{np.shape(arrays[name])}, expected {np.shape(leaf)}; start a new one"
            )
    leaves = [
        jnp.asarray(arrays[name], jnp.result_type(leaf))
        for name, leaf in expected.items()
    ]
    return jax.tree.unflatten(structure, leaves)
