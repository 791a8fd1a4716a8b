"""One search from its first generation to its front, resumable at any moment.

There is no checkpoint of the algorithm. It is deterministic, so a campaign is resumed
by running it again: what the archive holds is answered from there, and only the rest
is evaluated.
"""

import dataclasses
import time
from collections.abc import Callable, Generator, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from search.algorithm import Algorithm, Objectives, Violations, first_seen
from search.answering import ArchiveLike, Evaluate, answered
from search.archive import Record
from search.fidelity import Rungs, columns, estimates, promoted, rest_of
from search.pareto import hypervolume, non_dominated
from search.problem import Problem
from search.space import Genotypes
from search.stopping import Reason, Stop

MAX_IDLE = 5
"""Generations without a new genotype before the space is taken to be exhausted."""

REFERENCE_MARGIN = 0.1
"""How far behind the worst of the first generation the hypervolume reference lies."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """A campaign after a generation.

    Attributes:
        campaign: Its name.
        generation: Generations done.
        evaluations: Distinct genotypes evaluated or answered from the archive; those
            on a share of the examples count as that share.
        budget: How many there may be.
        best: The smallest feasible value of each objective; empty before there is one.
        hypervolume: Of the feasible front, below the reference.
    """

    campaign: str
    generation: int
    evaluations: int
    budget: int
    best: dict[str, float]
    hypervolume: float


@dataclasses.dataclass(frozen=True)
class CampaignResult:
    """What a campaign found.

    Attributes:
        name: Its name.
        evaluations: Distinct genotypes; fewer than the budget if no more were found.
        front: Feasible records that no other dominates, by the first objective; empty
            if bounds on evaluated metrics excluded them all.
        history: Progress after each generation.
        reason: Why it ended.
    """

    name: str
    evaluations: int
    front: tuple[Record, ...]
    history: tuple[Progress, ...]
    reason: Reason


def run_campaign(
    problem: Problem,
    algorithm: Algorithm,
    evaluate: Evaluate | Rungs,
    archive: ArchiveLike,
    *,
    name: str,
    seed: int,
    budget: int | Stop,
    reference: Float[np.ndarray, " objectives"] | None = None,
    on_generation: Callable[[Progress], None] | None = None,
) -> CampaignResult:
    """Searches until a rule ends it or nothing new is found.

    Args:
        problem: What is searched.
        algorithm: How.
        evaluate: Computes the metrics that are not cheap, of all at once or on rungs.
        archive: Answers what was evaluated before, and keeps what is new.
        name: Of the campaign, written into its records.
        seed: Of the algorithm.
        budget: Distinct genotypes to evaluate, at least 1, or all rules for the end.
        reference: Of the hypervolume; see :func:`generations`.
        on_generation: Called after each generation.

    Raises:
        InfeasibleError: If nothing satisfies the bounds on cheap metrics.
        ValueError: If the budget is not positive, or a bound or objective is on a
            metric that is not computed.
    """
    steps = generations(
        problem,
        algorithm,
        evaluate,
        archive,
        name=name,
        seed=seed,
        budget=budget,
        reference=reference,
    )
    while True:
        try:
            progress = next(steps)
        except StopIteration as end:
            return end.value
        if on_generation is not None:
            on_generation(progress)


def generations(
    problem: Problem,
    algorithm: Algorithm,
    evaluate: Evaluate | Rungs,
    archive: ArchiveLike,
    *,
    name: str,
    seed: int,
    budget: int | Stop,
    reference: Float[np.ndarray, " objectives"] | None = None,
) -> Generator[Progress, None, CampaignResult]:
    """Searches a generation at a time, yielding after each and returning the result.

    Genotypes that violate the bounds on cheap metrics are told as infeasible and never
    evaluated. The same arguments give the same result, however often the campaign was
    interrupted, unless time ends it.

    Args:
        problem: What is searched.
        algorithm: How.
        evaluate: Computes the metrics that are not cheap, of all at once or on rungs.
        archive: Answers what was evaluated before, and keeps what is new.
        name: Of the campaign, written into its records.
        seed: Of the algorithm.
        budget: Distinct genotypes to evaluate, at least 1, or all rules for the end.
        reference: Of the hypervolume; by default a tenth of the spread behind the
            worst objectives of the first generation with a feasible member. Give one
            to compare campaigns.

    Raises:
        InfeasibleError: If nothing satisfies the bounds on cheap metrics.
        ValueError: If the budget is not positive, or a bound or objective is on a
            metric that is not computed.
    """
    stop = budget if isinstance(budget, Stop) else Stop(evaluations=budget)
    cost = evaluate.halving.cost if isinstance(evaluate, Rungs) else 1.0
    ledger = _Ledger(problem, name, stop.evaluations, reference, time.monotonic(), cost)
    state = algorithm.init(problem, seed)
    idle = 0
    while (reason := ledger.reason(stop, idle)) is None:
        asked = ledger.affordable(algorithm.ask(problem, state))
        allowed = asked[problem.feasible(asked)]
        indices = ledger.indices(allowed)
        rungs = _climb(problem, evaluate, archive, allowed, name, indices)
        objectives, violations = _outcome(problem, asked, rungs)
        state = algorithm.tell(problem, state, asked, objectives, violations)
        before = len(ledger.told)
        ledger.note(rungs, objectives[violations <= 0])
        idle = 0 if len(ledger.told) > before else idle + 1
        yield ledger.history[-1]
    return CampaignResult(
        name, ledger.evaluations, ledger.front, tuple(ledger.history), reason
    )


Key = tuple[int, ...]


@dataclasses.dataclass
class _Ledger:
    """What a campaign has been told so far; rebuilt by a replay."""

    problem: Problem
    name: str
    budget: int
    reference: Float[np.ndarray, " objectives"] | None
    began: float
    cost: float
    told: dict[Key, float] = dataclasses.field(default_factory=dict)
    front: tuple[Record, ...] = ()
    history: list[Progress] = dataclasses.field(default_factory=list)

    def reason(self, stop: Stop, idle: int) -> Reason | None:
        """Returns why to end before the next generation, if at all."""
        if idle >= MAX_IDLE:
            return "exhausted"
        volumes = [progress.hypervolume for progress in self.history]
        return stop.reason(self.evaluations, time.monotonic() - self.began, volumes)

    @property
    def evaluations(self) -> int:
        """How many full evaluations were spent, each genotype's share added up."""
        return int(sum(self.told.values()))

    def _new(self, genotypes: Genotypes) -> Bool[np.ndarray, " population"]:
        return np.asarray([tuple(g.tolist()) not in self.told for g in genotypes], bool)

    def affordable(self, asked: Genotypes) -> Int[np.ndarray, "affordable genes"]:
        """Returns the first of the asked genotypes, as far as the budget goes."""
        if not self.problem.space.valid(asked).all():
            raise ValueError("the algorithm asked for genotypes outside the space")
        asked = self.problem.space.canonical(asked)
        asked = asked[first_seen(asked)]
        new = self._new(asked) & self.problem.feasible(asked)
        # At least one, which may take more than is left of the last evaluation.
        left = max(self.budget - sum(self.told.values()), self.cost)
        return asked[np.cumsum(new) * self.cost <= left]

    def indices(self, genotypes: Genotypes) -> Int[np.ndarray, " population"]:
        """Returns the position in this campaign that each new genotype will have."""
        return len(self.told) + np.cumsum(self._new(genotypes)) - 1

    def note(
        self,
        rungs: Sequence[Sequence[Record]],
        feasible: Float[np.ndarray, "feasible objectives"],
    ) -> None:
        """Adds a generation: its records, and the objectives of the feasible ones."""
        for records in rungs:
            self.told.update((record.genotype, record.fraction) for record in records)
        if self.reference is None and len(feasible):
            worst = feasible.max(0)
            spread = worst - feasible.min(0)
            spread = np.where(spread > 0, spread, np.maximum(np.abs(worst), 1.0))
            self.reference = worst + REFERENCE_MARGIN * spread
        self.front = _front(self.problem, (*self.front, *rungs[-1]))
        volume = 0.0
        best: dict[str, float] = {}
        if self.front and self.reference is not None:
            objectives = self.problem.objectives_of(columns(self.front))
            volume = hypervolume(objectives, self.reference)
            smallest = objectives.min(0).tolist()
            best = dict(zip(self.problem.objectives, smallest, strict=True))
        progress = Progress(
            self.name,
            len(self.history) + 1,
            self.evaluations,
            self.budget,
            best,
            volume,
        )
        self.history.append(progress)


def _climb(
    problem: Problem,
    evaluate: Evaluate | Rungs,
    archive: ArchiveLike,
    genotypes: Genotypes,
    name: str,
    indices: Int[np.ndarray, " population"],
) -> list[list[Record]]:
    """Returns the records of each rung; without rungs, of all genotypes on one.

    What climbs depends on nothing but this generation on the rung before: neither on
    what was interrupted nor on what other campaigns evaluated.
    """
    if not isinstance(evaluate, Rungs):
        return [
            answered(problem, evaluate, archive, genotypes, name=name, indices=indices)
        ]
    found: list[list[Record]] = []
    for fraction in evaluate.halving.fractions:
        before = found[-1] if found else []
        if before:
            rows = promoted(problem, before, evaluate.halving.keep)
            genotypes, indices = genotypes[rows], indices[rows]
        rest = rest_of(evaluate, before, fraction)
        records = answered(
            problem,
            rest,
            archive,
            genotypes,
            name=name,
            indices=indices,
            fraction=fraction,
        )
        found.append(records)
    return found


def _outcome(
    problem: Problem, asked: Genotypes, rungs: Sequence[Sequence[Record]]
) -> tuple[Objectives, Violations]:
    """Returns what to tell: records are those of the cheaply feasible genotypes."""
    violations = problem.cheap_violations(asked)
    objectives = np.full((len(asked), len(problem.objectives)), np.inf)
    if rungs[0]:
        metrics = estimates(rungs, problem.cheap(asked[:1]))
        problem.check(metrics)
        allowed = violations <= 0
        violations[allowed] = problem.violations(metrics)
        objectives[allowed] = problem.objectives_of(metrics)
        objectives[violations > 0] = np.inf
    return objectives, violations


def _front(problem: Problem, records: Sequence[Record]) -> tuple[Record, ...]:
    """Returns the feasible records that no other dominates, by objectives."""
    distinct = list({record.genotype: record for record in records}.values())
    if not distinct:
        return ()
    metrics = columns(distinct)
    objectives = problem.objectives_of(metrics)
    rows = np.flatnonzero(problem.violations(metrics) <= 0)
    rows = rows[non_dominated(objectives[rows])]
    return tuple(distinct[row] for row in rows[np.lexsort(objectives[rows].T[::-1])])
