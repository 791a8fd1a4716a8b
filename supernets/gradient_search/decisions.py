"""The decisions of a space as arrays: logits, probabilities, and the subnet they mean.

A decision has an entry for each of its choices: of shape ``(choices,)``, or ``(layers,
choices)`` if each layer decides, under the name of its choice. ``depth`` is one over
its values, or under the ``free`` rule one for each layer, to skip and to run. These are
the shapes that `supernets.lowering.mixed_extents` takes.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from search.space import Depth, Space
from supernets.lowering import GATE, size_choices

Decisions = dict[str, Array]
"""Logits, or probabilities, by the name of the choice."""

INITIAL_SCALE = 1e-3
"""Standard deviation of the first logits, as in the code of TangleNAS."""


LEAST = 1e-30
"""Probabilities below count as this: all have a logarithm."""


def decision_shapes(space: Space) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each decision, in the order of the genes.

    Raises:
        ValueError: If a choice is of something else than sizes, which cannot be mixed.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    if space.depth is not None:
        counts = (len(space.depth.values),)
        shapes["depth"] = (space.layers, len(GATE)) if space.free else counts
    sizes = {choice.name for choice in size_choices(space)}
    for choice in space.choices:
        if choice.name in sizes:
            layers = (space.layers,) * choice.per_layer
            shapes[choice.name] = (*layers, len(choice.values))
        elif len(choice.values) > 1:
            raise ValueError(
                f"choice {choice.name!r} is not a size: {choice.values} cannot be "
                "mixed; search it by an algorithm that evaluates subnets, or leave it "
                "one value"
            )
    return shapes


def initial_logits(space: Space, *, key: Array) -> Decisions:
    """Returns small random logits: every choice is about as probable.

    Raises:
        ValueError: If a choice is of something else than sizes.
    """
    shapes = decision_shapes(space)
    keys = jax.random.split(key, len(shapes))
    return {
        name: INITIAL_SCALE * jax.random.normal(keys[row], shape)
        for row, (name, shape) in enumerate(shapes.items())
    }


def gene_rows(space: Space, decisions: Mapping[str, Array]) -> Float[Array, "genes _"]:
    """Returns a row for each gene, with zeros after its own choices."""
    most = int(space.cardinalities.max())
    parts = [decisions["depth"]] if space.depth is not None else []
    for choice in space.choices:
        layers = (space.layers,) * choice.per_layer
        # Of a choice that is no size, which has one value.
        parts.append(decisions.get(choice.name, jnp.ones((*layers, 1))))
    rows = [part.reshape(-1, part.shape[-1]) for part in parts]
    padded = [jnp.pad(row, ((0, 0), (0, most - row.shape[1]))) for row in rows]
    return jnp.concatenate(padded)


def one_hot_rows(
    space: Space, genotype: Int[Array, " genes"]
) -> Float[Array, "genes _"]:
    """Returns the rows of `gene_rows` for a single subnet."""
    return jax.nn.one_hot(genotype, int(space.cardinalities.max()))


def most_probable(space: Space, rows: Float[Array, "genes _"]) -> Int[Array, " genes"]:
    """Returns each gene's most probable choice.

    Under the ``free`` rule, the most probable layers of the most probable allowed
    number. Genes of layers that do not run are as they are, not canonical.

    Args:
        space: The search space.
        rows: Probability of each choice.
    """
    legal = np.arange(rows.shape[1]) < space.cardinalities[:, None]
    picked = jnp.argmax(jnp.where(legal, rows, -jnp.inf), axis=1)
    if space.depth is not None and space.free:
        picked = picked.at[: space.layers].set(_gates(space.depth, rows, space.layers))
    return picked.astype(jnp.int32)


def _gates(
    depth: Depth, rows: Float[Array, "genes _"], layers: int
) -> Int[Array, " layers"]:
    odds = jnp.log(jnp.maximum(rows[:layers, :2], LEAST))
    gain = odds[:, 1] - odds[:, 0]
    ranks = jnp.argsort(jnp.argsort(-gain))
    # What running the first so many layers of the ranking adds.
    totals = jnp.cumsum(-jnp.sort(-gain))
    allowed = jnp.asarray(depth.values)
    count = allowed[jnp.argmax(totals[allowed - 1])]
    return (ranks < count).astype(jnp.int32)
