"""Which subnet a mixture stands for: the most probable one within the bounds."""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from search.space import Genotype, Genotypes, Space
from supernets.gradient_search.decisions import LEAST, most_probable
from supernets.gradient_search.expected_cost import Price

Excess = Callable[[Genotypes], Float[np.ndarray, " population"]]
"""By how much subnets break bounds; 0 where they do not."""

Rows = Float[np.ndarray, "genes choices"]


def decode(space: Space, rows: Rows, excess: Excess) -> Genotype | None:
    """Returns the most probable subnet that keeps the bounds and rules of its space.

    That is each gene's most probable choice, if it does. Otherwise it is repaired: one
    step after the other that brings it nearer to the bounds, each the one that gives up
    the least probability for what it gains; then steps that stay within them and win
    back probability, as long as there are any.

    Args:
        space: The search space.
        rows: Probability of each choice; see `decisions.gene_rows`.
        excess: By how much subnets break bounds.

    Returns:
        A member of the space; none if no step leads to one, not even from the smallest.
    """
    picked = np.asarray(most_probable(space, jnp.asarray(rows)))
    start = space.canonical(picked[None])[0]
    loss = Improbability(space, rows)
    for begin in (start, space.smallest):
        found = _brought_within(space, begin, loss, excess)
        if found is not None:
            return _improved(space, found, loss, excess)
    return None


def relative_excess(
    prices: Mapping[str, Price], limits: Mapping[str, float], genotypes: Genotypes
) -> Float[np.ndarray, " population"]:
    """Returns by how much subnets exceed limits, relative to them, summed; else 0.

    Args:
        prices: What is bounded.
        limits: Largest legal values, positive, of all prices.
        genotypes: Canonical.
    """
    total = np.zeros(len(genotypes))
    for name, price in prices.items():
        total += np.maximum(price(genotypes) / limits[name] - 1.0, 0.0)
    return total


class Improbability:
    """How much less probable subnets are than the most probable choices, in nats.

    Only genes that matter count, each against its own most probable choice: so a subnet
    of many layers is no less probable for having more genes.
    """

    def __init__(self, space: Space, rows: Rows) -> None:
        self.space = space
        self.logs = np.log(np.maximum(rows, LEAST))

    def __call__(self, genotypes: Genotypes) -> Float[np.ndarray, " population"]:
        """Returns it for canonical genotypes."""
        picked = np.take_along_axis(self.logs[None], genotypes[..., None], axis=2)
        behind = self.logs.max(1)[None] - picked[..., 0]
        return np.where(self.space.active_genes(genotypes), behind, 0.0).sum(1)


def _brought_within(
    space: Space, genotype: Genotype, loss: Improbability, excess: Excess
) -> Genotype | None:
    """Returns a member that keeps the bounds, reached by steps towards them."""
    missing = _missing(space, genotype[None], excess)[0]
    while missing > 0:
        moves = space.neighbours(genotype)
        if not len(moves):
            return None
        left = _missing(space, moves, excess)
        nearer = left < missing
        if not nearer.any():
            return None
        given_up = loss(moves) - loss(genotype[None])
        # Probability won counts as none given up, or small gains would come first.
        price = np.maximum(given_up, 0.0) / np.where(nearer, missing - left, 1.0)
        best = np.lexsort((left, np.where(nearer, price, np.inf)))[0]
        genotype, missing = moves[best], left[best]
    return genotype


def _missing(
    space: Space, genotypes: Genotypes, excess: Excess
) -> Float[np.ndarray, " population"]:
    """Returns the excess; a subnet against the rules is as bad as twice all bounds."""
    return excess(genotypes) + np.where(space.valid(genotypes), 0.0, 2.0)


def _improved(
    space: Space, genotype: Genotype, loss: Improbability, excess: Excess
) -> Genotype:
    """Returns the end of steps to the most probable neighbour within the bounds."""
    while True:
        moves = space.neighbours(genotype)
        if len(moves):
            moves = moves[excess(moves) == 0]
        if not len(moves):
            return genotype
        losses = loss(moves)
        if not losses.min() < loss(genotype[None])[0]:
            return genotype
        genotype = moves[np.argmin(losses)]
