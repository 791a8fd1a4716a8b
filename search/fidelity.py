"""Evaluating most of a generation on some of the examples, and the best on all.

References:
    Jamieson, Talwalkar, "Non-stochastic best arm identification and hyperparameter
    optimization", 2016, https://arxiv.org/abs/1502.07943.
    Li et al., "A system for massively parallel hyperparameter tuning" (ASHA), 2020,
    https://arxiv.org/abs/1810.05934.
"""

import dataclasses
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from fractions import Fraction

import numpy as np
from jaxtyping import Int

from search.archive import Record
from search.pareto import non_dominated_ranks
from search.problem import Metrics, Problem
from search.space import Genotypes

MAX_PIECES = 64
"""Equal pieces that examples are divided into at most."""

Part = tuple[float, float]
"""From one share of the examples to another, as ``(0.25, 1.0)``."""

WHOLE: Part = (0.0, 1.0)

EvaluatePart = Callable[[Genotypes, Part], Iterable[tuple[int, Metrics]]]
"""Computes the expensive metrics of a batch on a part of the examples, as means over
it. Yields as `search.campaign.Evaluate` does."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SuccessiveHalving:
    """Rungs of more and more examples, and the share that climbs from each to the next.

    Only what reaches the last rung counts for the front. The examples of a rung are the
    first ones of the next, so that climbing pays for the rest alone.

    Raises:
        ValueError: If the fractions do not ascend to 1, are not those of a few equal
            pieces, or none or all would climb.
    """

    fractions: tuple[float, ...] = (0.25, 1.0)
    """Shares of the examples that are looked at, the last 1."""
    keep: float = 0.5
    """Share of a generation that climbs from one rung to the next."""

    def __post_init__(self) -> None:
        ascending = list(self.fractions) == sorted(set(self.fractions))
        if len(self.fractions) < 2 or not ascending or self.fractions[-1] != 1:
            raise ValueError(
                f"fractions are {self.fractions}; give at least two that ascend to 1, "
                "as 0.25 1"
            )
        if self.fractions[0] <= 0 or self.pieces > MAX_PIECES:
            raise ValueError(
                f"fractions are {self.fractions}; they must be above 0 and multiples "
                f"of one piece in at most {MAX_PIECES}, as 0.25 is"
            )
        if not 0 < self.keep < 1:
            raise ValueError(f"keep must lie between 0 and 1, got {self.keep}")

    @property
    def pieces(self) -> int:
        """Equal pieces that every rung is a whole number of."""
        exact = [Fraction(f).limit_denominator(1000) for f in self.fractions]
        return math.lcm(*(fraction.denominator for fraction in exact))

    @property
    def cost(self) -> float:
        """Full evaluations that a genotype takes on average."""
        steps = np.diff(self.fractions, prepend=0.0)
        return float((steps * self.keep ** np.arange(len(steps))).sum())


@dataclasses.dataclass(frozen=True)
class Rungs:
    """An evaluation on parts of the examples, and how it is used.

    Attributes:
        halving: The rungs.
        evaluate: Computes metrics on a part.
    """

    halving: SuccessiveHalving
    evaluate: EvaluatePart


def promoted(
    problem: Problem, records: Sequence[Record], keep: float
) -> Int[np.ndarray, " promoted"]:
    """Returns the rows that climb: of the best fronts, in ascending order.

    Where a front has more than there is room for, the first objective decides.

    Args:
        problem: Its bounds say what is feasible, which comes first.
        records: Of one rung.
        keep: Share of them, rounded up.
    """
    metrics = columns(records)
    objectives = problem.objectives_of(metrics)
    ranks = non_dominated_ranks(objectives, problem.violations(metrics))
    order = np.lexsort((objectives[:, 0], ranks))
    return np.sort(order[: math.ceil(keep * len(records))])


def rest_of(
    rungs: Rungs, before: Sequence[Record], fraction: float
) -> Callable[[Genotypes], Iterable[tuple[int, Metrics]]]:
    """Returns an evaluation up to a rung that uses what the rung before has found.

    Args:
        rungs: Evaluates parts.
        before: Records of the rung before, of all genotypes that may be asked for;
            none for the first rung.
        fraction: Share of the examples at this rung.
    """
    known = {record.genotype: record for record in before}
    start = before[0].fraction if before else 0.0

    def evaluate(genotypes: Genotypes) -> Iterable[tuple[int, Metrics]]:
        keys = [tuple(row) for row in genotypes.tolist()]
        for row, metrics in rungs.evaluate(genotypes, (start, fraction)):
            if not before:
                yield row, metrics
                continue
            count = max((len(values) for values in metrics.values()), default=0)
            earlier = columns([known[key] for key in keys[row : row + count]])
            yield (
                row,
                {
                    name: (earlier[name] * start + values * (fraction - start))
                    / fraction
                    for name, values in metrics.items()
                },
            )

    return evaluate


def estimates(rungs: Sequence[Sequence[Record]], exact: Collection[str]) -> Metrics:
    """Returns what all genotypes of a generation would score on all examples.

    Of those that did not climb it is what they scored and what those that climbed
    gained: examples of a rung may be easier or harder than the rest, for all alike.

    Args:
        rungs: Records of each rung, the first of all genotypes.
        exact: Metrics that do not depend on examples.
    """
    everyone = np.arange(len(rungs[0]))
    row_of = {record.genotype: row for row, record in enumerate(rungs[0])}
    found = columns(rungs[0])
    for records in rungs[1:]:
        climbed = np.asarray([row_of[record.genotype] for record in records])
        others = np.setdiff1d(everyone, climbed)
        for name, values in columns(records).items():
            if name not in exact:
                found[name][others] += np.mean(values - found[name][climbed])
                found[name][climbed] = values
    return found


def columns(records: Sequence[Record]) -> Metrics:
    """Returns the metrics that all records have, as columns."""
    names = [n for n in records[0].metrics if all(n in r.metrics for r in records)]
    return {n: np.asarray([r.metrics[n] for r in records], float) for n in names}
