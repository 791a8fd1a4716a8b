"""Random subnets of every cost alike.

Subnets whose genes are drawn uniformly pile up at the middle of the cost range: the
mean over many layers hardly varies, so the extremes are never trained (LLM-QFA, Yi
2024: among bit widths of 2, 3 and 4 the mean over ``L`` layers has a standard deviation
of ``sqrt(2 / 3 / L)``). Here the cost is what is uniform. Of 2000 subnets of a decoder
of 12 layers, elastic in heads and feed-forward size, 9 to 11% fall into each tenth of
the cost range; of uniform ones 86% fall into three of the tenths and 1% into five.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from search.space import Genotypes
from supernets.policies.policy import Subnets

Sampling = Literal["stratified", "uniform"]
"""How random subnets are drawn: even over costs, or with uniform genes."""

CANDIDATES = 32
"""Draws of which the nearest in cost is taken; it misses by about 2% of the range."""

CANDIDATES_EACH = 8
"""Draws for each subnet that is taken, where several of one cost are."""


def sample(
    subnets: Subnets, count: int, rng: np.random.Generator, sampling: Sampling
) -> Genotypes:
    """Draws random subnets.

    Args:
        subnets: Drawn from.
        count: How many.
        rng: Where the randomness comes from.
        sampling: How.
    """
    if sampling == "uniform":
        return subnets.space.sample(count, rng)
    return near_costs(subnets, target_costs(subnets, count, rng), rng)[:, 0]


def target_costs(
    subnets: Subnets, count: int, rng: np.random.Generator
) -> Float[np.ndarray, " count"]:
    """Draws a cost from each of ``count`` equal parts of the range, in random order.

    Each cost on its own is uniform over the whole range.
    """
    low, high = subnets.cost_range
    return low + (high - low) * (rng.permutation(count) + rng.random(count)) / count


def near_costs(
    subnets: Subnets,
    targets: Float[np.ndarray, " count"],
    rng: np.random.Generator,
    each: int = 1,
) -> Int[np.ndarray, "count each genes"]:
    """Draws random subnets close to given costs.

    Of candidates of every size, those nearest in cost are taken: different ones as far
    as there are.

    Args:
        subnets: Drawn from.
        targets: Costs to come near.
        rng: Where the randomness comes from.
        each: Subnets for each target.
    """
    space, pool = subnets.space, max(CANDIDATES, CANDIDATES_EACH * each)
    drawn = space.sample(len(targets) * pool, rng, rng.random(len(targets) * pool))
    misses = np.abs(subnets.cost(drawn) - np.repeat(targets, pool))
    drawn = drawn.reshape(len(targets), pool, space.genes)
    misses = misses.reshape(len(targets), pool)
    if each > 1:
        for rows, far in zip(drawn, misses, strict=True):
            first = np.unique(rows, axis=0, return_index=True)[1]
            far[np.setdiff1d(np.arange(pool), first)] = np.inf
    nearest = np.argsort(misses, axis=1, kind="stable")[:, :each]
    return np.take_along_axis(drawn, nearest[:, :, None], axis=1)
