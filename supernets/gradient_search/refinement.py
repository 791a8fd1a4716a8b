"""Swaps around a subnet: what two choices change together is about what each does.

Multipliers reach the subnets on the convex hull of loss and cost only. The best one
within a bound often lies beside it, a swap away: more of one size for less of another.
Every single step is evaluated, within the bounds or not; then the pairs that promise
most, by the sum of what their steps change alone.
"""

import itertools

import numpy as np
from jaxtyping import Float, Int

from search.space import Genotype, Space

MOST_STEPS = 256
"""Steps that are paired at most: pairs grow with their square."""


def pairs_of_steps(
    space: Space,
    genotype: Genotype,
    steps: Int[np.ndarray, "steps genes"],
    changes: Float[np.ndarray, " steps"],
) -> Int[np.ndarray, "pairs genes"]:
    """Returns members that are two steps in different genes away.

    Those come first whose two steps change the loss for the best, added up.

    Args:
        space: The search space.
        genotype: Where steps start.
        steps: Members one step away; the most promising of too many are paired.
        changes: Of the loss, by each step alone, in nats.
    """
    kept = np.argsort(changes, kind="stable")[:MOST_STEPS]
    steps, changes = steps[kept], changes[kept]
    first, second = _apart(steps != genotype)
    moved = np.where(steps[first] != genotype, steps[first], steps[second])
    members = space.canonical(moved)
    sums = changes[first] + changes[second]
    good = space.valid(members) & (members != genotype).any(1)
    return members[good][np.argsort(sums[good], kind="stable")]


def _apart(
    changed: np.ndarray,
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Returns the pairs of steps that change no gene in common."""
    pairs = list(itertools.combinations(range(len(changed)), 2))
    first, second = np.asarray(pairs, int).reshape(-1, 2).T
    apart = ~(changed[first] & changed[second]).any(1)
    return first[apart], second[apart]
