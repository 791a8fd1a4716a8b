"""The sets of bounds that a search by gradient is done within, one after the other."""

import numpy as np

from nas.errors import UsageError
from nas.gradient.rules import sets_of_bounds
from search.problem import FEASIBILITY_SAMPLES, Metrics, Problem
from search.space import Genotypes
from supernets.gradient_search.specs import GradientSearch

Limits = dict[str, float]
"""Largest legal values by metric."""

SAMPLE_SEED = 0
"""Of the members that are priced to find the cheapest: the same in every search."""


def bound_sets(
    problem: Problem, spec: GradientSearch, scores: tuple[str, ...]
) -> list[Limits]:
    """Returns the limits of each search; all bound the same metrics.

    Every bound of the problem is one of each. An objective that is known without an
    evaluation is limited by evenly spaced values between that of the cheapest member
    and its own bound, or that of the largest subnet if it has none, while the others
    keep their bounds. The best subnets of all searches make the front.

    Args:
        problem: What is searched, with absolute bounds.
        spec: How.
        scores: Names of the metrics that take an evaluation.

    Raises:
        InfeasibleError: If nothing keeps the bounds of the problem.
        UsageError: If a limit is not positive, which leaves nothing to measure by.
    """
    top: Limits = {}
    for bound in problem.bounds:
        top[bound.metric] = min(bound.limit, top.get(bound.metric, np.inf))
    prices = problem.cheap(_feasible(problem))
    dearest = problem.cheap(problem.space.largest[None])
    swept = [name for name in problem.objectives if name not in scores]
    for name in swept:
        top.setdefault(name, float(dearest[name][0]))
    sets = [
        {**top, name: level}
        for name in swept
        for level in _below(prices, name, top[name], spec.sweep)
    ]
    _require_positive([*sets, top])
    assert len(sets) < sets_of_bounds(spec, len(swept))
    return [*sets, top]


def _below(prices: Metrics, name: str, highest: float, count: int) -> list[float]:
    """Returns limits below the highest, ascending."""
    lowest = float(prices[name].min())
    levels = np.linspace(lowest, highest, count + 1)[1:-1]
    return levels.tolist() if lowest < highest else []


def _feasible(problem: Problem) -> Genotypes:
    """Returns members within the bounds, at least one."""
    rng = np.random.default_rng(SAMPLE_SEED)
    found = problem.require_feasible(rng)
    space = problem.space
    drawn = space.sample(FEASIBILITY_SAMPLES, rng)
    members = np.concatenate([space.smallest[None], found[None], drawn])
    return members[problem.feasible(members)]


def _require_positive(sets: list[Limits]) -> None:
    for limits in sets:
        for name, limit in limits.items():
            if not limit > 0:
                raise UsageError(
                    f"GradientSearch would limit {name} to {limit:g}: give "
                    "search.constraints a positive limit for it, let the metric be "
                    "positive, or search by another algorithm"
                )
