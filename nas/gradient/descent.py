"""One search by gradient: its bounds, its seed, and what each of its rounds tells."""

import dataclasses
import math
from typing import NamedTuple

from nas.campaigns import campaign_name, seeds_of
from nas.experiment import Experiment
from nas.gradient.bounds import Limits, bound_sets
from nas.gradient.rules import LEAST_LOOKS
from search.archive import Record
from search.problem import Problem
from supernets.gradient_search.specs import GradientSearch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Descent:
    """A search within one set of bounds, from one seed; a campaign has one for each.

    Attributes:
        campaign: Name of the campaign that it is a part of.
        number: Of the set of bounds, from 0.
        limits: Largest legal values, by metric.
        seed: Of all its randomness.
        looks: Subnets that it may look at.
        seconds: Time after which it ends, if any.
    """

    campaign: str
    number: int
    limits: Limits
    seed: int
    looks: int
    seconds: float | None


class Round(NamedTuple):
    """What a descent tells after it has looked at subnets.

    Attributes:
        number: Of the round, from 0.
        steps: How many steps of the architecture were done.
        records: Of the subnets that it looked at since the last round.
        best: The lowest score so far, within its bounds.
    """

    number: int
    steps: int
    records: tuple[Record, ...]
    best: float


def gradient_of(experiment: Experiment) -> GradientSearch | None:
    """Returns the search by gradient of an experiment, if it has one."""
    for algorithm in experiment.search.algorithms:
        if isinstance(algorithm, GradientSearch):
            return algorithm
    return None


def planned_descents(
    experiment: Experiment, problem: Problem, spec: GradientSearch
) -> list[Descent]:
    """Returns the descents of an experiment: within each set of bounds, by each seed.

    Those of a campaign share its evaluations and its time.

    Raises:
        InfeasibleError: If nothing keeps the bounds of the problem.
        UsageError: If a limit is not positive.
    """
    search = experiment.search
    sets = bound_sets(problem, spec, experiment.scores)
    return [
        Descent(
            campaign=campaign_name(spec, seed if search.seeds > 1 else None),
            number=number,
            limits=limits,
            seed=seed,
            looks=search.evaluations // len(sets),
            seconds=None if search.seconds is None else search.seconds / len(sets),
        )
        for seed in seeds_of(experiment)
        for number, limits in enumerate(sets)
    ]


def within_means(spec: GradientSearch, looks: int) -> GradientSearch:
    """Returns a search that decodes no more often than half of its looks allow.

    The other half is for what is around the best.

    >>> within_means(GradientSearch(steps=300, decode_every=10), 20).decode_every
    30
    """
    seldom = math.ceil(spec.steps / (looks // LEAST_LOOKS))
    return dataclasses.replace(spec, decode_every=max(spec.decode_every, seldom))
