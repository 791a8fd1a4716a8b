"""Evolution on a predictor: evaluate a few, learn from them, search what was learnt.

References:
    Cummings et al., "A hardware-aware framework for accelerating neural architecture
    search across modalities" (LINAS), 2022, https://arxiv.org/abs/2205.10358.
    Deb, Pratap, Agarwal, Meyarivan, "A fast and elitist multiobjective genetic
    algorithm: NSGA-II", 2002, https://doi.org/10.1109/4235.996017.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Bool, Int

from search.algorithm import Objectives, State, Violations, propose
from search.nsga2 import Nsga2
from search.pareto import crowding_distance, non_dominated
from search.population import begin, first_population
from search.predictors import (
    BestOf,
    Combination,
    Ensemble,
    Fitted,
    GaussianProcess,
    Members,
    Ridge,
)
from search.predictors.predictor import LEAST
from search.problem import Metrics, Problem
from search.space import Genotypes

AnyPredictor = GaussianProcess | Ridge | Ensemble | Combination | BestOf


@dataclasses.dataclass(frozen=True, kw_only=True)
class SurrogateEvolution:
    """Evaluates what an evolution on predicted objectives finds (as LINAS does).

    Each generation fits a predictor to everything told, runs NSGA-II on it for
    over a thousand predicted evaluations, and asks for the best it found. Beyond
    LINAS: nothing is asked twice; only what needs an evaluation is predicted, cheap
    metrics are exact; predictions are optimistic, so that what is unknown is tried; and
    of a predicted front those are asked that lie furthest apart.

    Bounds on cheap metrics are always obeyed. Whether a member breaks a bound on an
    evaluated metric is predicted too, once one did.

    Its population is everything told: a predictor learns from bad members as well.

    Raises:
        ValueError: If a number is out of range.
    """

    batch: int = 16
    """Genotypes asked at once."""
    predictor: AnyPredictor = GaussianProcess()
    """Learns each objective that needs an evaluation."""
    columns: tuple[str, ...] = ()
    """Cheap metrics whose logarithms the predictor sees beside the genes."""
    optimism: float = 0.5
    """Deviations below its mean that a prediction counts as."""
    inner: Nsga2 = Nsga2(population=64)
    """The evolution that runs on the predictor."""
    generations: int = 24
    """How many generations of it."""

    def __post_init__(self) -> None:
        for name, least in (("batch", 2), ("optimism", 0), ("generations", 1)):
            if not getattr(self, name) >= least:
                raise ValueError(
                    f"{name} must be at least {least}, got {getattr(self, name)}"
                )

    def init(self, problem: Problem, seed: int) -> State:
        """Returns the empty state; see :class:`search.algorithm.Algorithm`.

        Raises:
            ValueError: If a column is not a cheap metric.
        """
        known = problem.cheap(problem.space.smallest[None])
        if unknown := [name for name in self.columns if name not in known]:
            raise ValueError(
                f"columns {unknown} are not cheap metrics; there are {sorted(known)}"
            )
        return begin(problem, seed)

    def ask(self, problem: Problem, state: State) -> Genotypes:
        """Returns the first members, of all sizes, then what is predicted best.

        Where the search on the predictor finds too little that is new and feasible,
        members drawn anywhere fill up.
        """
        if not len(state.told):
            return self._first(problem, state)
        from threadpoolctl import threadpool_limits

        rng = state.rng
        # Its matrices are small. Threads wait for each other on every one: where other
        # programs keep the cores busy, two of them take ten times as long as one.
        with threadpool_limits(1, user_api="blas"):
            best = self._predicted_best(problem, state, int(rng.integers(2**31)))
        known = np.concatenate([state.told, best])
        missing = self.batch - len(best)
        others = propose(problem, known, missing, _of_all_sizes(problem, rng))
        return np.concatenate([best, others])

    def _first(self, problem: Problem, state: State) -> Genotypes:
        """Draws members of all sizes; where they are rarely feasible, mutates some."""
        rng = state.rng
        drawn = propose(problem, state.told, self.batch, _of_all_sizes(problem, rng))
        if len(drawn) == self.batch:
            return drawn
        others = first_population(problem, self.batch, rng)
        fill = propose(problem, drawn, self.batch - len(drawn), lambda _: others)
        return np.concatenate([drawn, fill])

    def _predicted_best(
        self, problem: Problem, state: State, seed: int
    ) -> Int[np.ndarray, "chosen genes"]:
        """Runs the inner evolution and chooses among all that it visited."""
        model = _Model.fit(self, problem, state)
        told = model.outcome(state.told)
        start = State.empty(problem, seed)
        inner = self.inner.tell(problem, start, state.told, *told)
        visited, outcomes = [state.told], [told]
        for _ in range(self.generations):
            asked = self.inner.ask(problem, inner)
            outcomes.append(model.outcome(asked))
            visited.append(asked)
            inner = self.inner.tell(problem, inner, asked, *outcomes[-1])
            if len(asked) < self.inner.population:
                break
        objectives, violations = (
            np.concatenate(p) for p in zip(*outcomes, strict=True)
        )
        new = np.arange(len(violations)) >= len(state.told)
        rows = _choose(objectives, violations, new, self.batch)
        return np.concatenate(visited)[rows]

    def tell(
        self,
        problem: Problem,
        state: State,
        genotypes: Genotypes,
        objectives: Objectives,
        violations: Violations,
    ) -> State:
        """Returns the state with the new genotypes in it."""
        genotypes = problem.space.canonical(genotypes)

        def everything(costs: Objectives, misses: Violations) -> np.ndarray:  # noqa: ARG001
            return np.arange(len(misses))

        return state.after(genotypes, objectives, violations, everything)


@dataclasses.dataclass(frozen=True, eq=False)
class _Model:
    """What is believed of every member.

    Attributes:
        problem: What is searched.
        columns: Cheap metrics whose logarithms predictors see.
        objectives: A fitted predictor of each objective that needs an evaluation.
        excess: Of the violations by evaluated metrics, below 0 where there are none;
            ``None`` while none was told.
        optimism: Deviations below its mean that a prediction counts as.
    """

    problem: Problem
    columns: tuple[str, ...]
    objectives: Mapping[str, Fitted]
    excess: Fitted | None
    optimism: float

    @classmethod
    def fit(cls, spec: SurrogateEvolution, problem: Problem, state: State) -> "_Model":
        cheap = problem.cheap(state.genotypes)
        members = _members(problem, state.genotypes, cheap, spec.columns)
        feasible = state.violations <= 0
        fitted = {
            name: spec.predictor.fit(members.take(feasible), values[feasible])
            for name, values in zip(problem.objectives, state.objectives.T, strict=True)
            if name not in cheap and feasible.sum() >= LEAST
        }
        broken = state.violations > 0
        excess = None
        if broken.any() and len(broken) >= LEAST:
            # As far on the other side, so that 0 lies between the two.
            typical = -np.median(state.violations[broken])
            signed = np.where(broken, state.violations, typical)
            excess = spec.predictor.fit(members, signed)
        return cls(problem, spec.columns, fitted, excess, spec.optimism)

    def outcome(self, genotypes: Genotypes) -> tuple[Objectives, Violations]:
        """Returns what an algorithm is told, as far as it is believed."""
        if not len(genotypes):
            return np.zeros((0, len(self.problem.objectives))), np.zeros(0)
        cheap = self.problem.cheap(genotypes)
        members = _members(self.problem, genotypes, cheap, self.columns)
        columns = [
            self._optimistic(self.objectives[name], members)
            if name in self.objectives
            else cheap.get(name, np.zeros(len(genotypes)))
            for name in self.problem.objectives
        ]
        violations = np.zeros(len(genotypes))
        if self.excess is not None:
            violations = np.maximum(self.excess.predict(members).mean, 0)
        objectives = np.stack(columns, axis=1).astype(float)
        objectives[violations > 0] = np.inf
        return objectives, violations

    def _optimistic(self, fitted: Fitted, members: Members) -> Violations:
        prediction = fitted.predict(members)
        return prediction.mean - self.optimism * prediction.std


def _members(
    problem: Problem, genotypes: Genotypes, cheap: Metrics, names: tuple[str, ...]
) -> Members:
    columns = None
    if names:
        columns = np.stack([np.log(cheap[name].astype(float)) for name in names], 1)
    return Members(problem.space, genotypes, columns)


def _of_all_sizes(
    problem: Problem, rng: np.random.Generator
) -> Callable[[int], Genotypes]:
    """Returns a way to draw members whose sizes are spread evenly."""

    def draw(count: int) -> Genotypes:
        tilts = (rng.permutation(count) + rng.random(count)) / count
        return problem.space.sample(count, rng, tilts)

    return draw


def _choose(
    objectives: Objectives,
    violations: Violations,
    new: Bool[np.ndarray, " population"],
    count: int,
) -> Int[np.ndarray, " chosen"]:
    """Returns the rows of new members to ask, the best of all fronts first.

    Fronts are those of new and known members together. Of the last one that is needed,
    the members in the densest places are left out, one after the other.

    Args:
        objectives: Infinite where infeasible.
        violations: 0 where feasible.
        new: Which may be asked.
        count: How many at most.
    """
    chosen = np.zeros(0, int)
    left = np.flatnonzero(violations <= 0)
    while len(chosen) < count and new[left].any():
        first = non_dominated(objectives[left])
        front, left = left[first], left[~first]
        chosen = np.append(
            chosen, _thinned(objectives, front, new, count - len(chosen))
        )
    infeasible = np.flatnonzero((violations > 0) & new)
    nearest = infeasible[np.argsort(violations[infeasible], kind="stable")]
    return np.append(chosen, nearest)[:count]


def _thinned(
    objectives: Objectives,
    front: Int[np.ndarray, " front"],
    new: Bool[np.ndarray, " population"],
    count: int,
) -> Int[np.ndarray, " thinned"]:
    """Returns up to ``count`` new members of a front, far from each other and known."""
    while (free := new[front]).sum() > count:
        crowding = np.where(free, crowding_distance(objectives[front]), np.inf)
        front = np.delete(front, crowding.argmin())
    return front[free]
