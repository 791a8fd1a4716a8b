"""Regularised (aging) evolution: tournaments pick parents, age picks who dies.

References:
    Real, Aggarwal, Huang, Le, "Regularized Evolution for Image Classifier Architecture
    Search", 2019, https://arxiv.org/abs/1802.01548 (algorithm 1).
"""

import dataclasses

import numpy as np

from search.algorithm import Objectives, State, Violations, propose
from search.population import begin, first_population, fitness, tournament
from search.problem import Problem
from search.space import Genotypes


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegularizedEvolution:
    """Mutates winners of tournaments; the oldest members die (Real et al. 2019).

    The order of the population is its age. Departs from algorithm 1 of the paper in
    four points: a cycle makes a batch of children, as asynchronous workers would; with
    several objectives a tournament is won by constrained domination and, within a
    front, by distance from others (Deb et al. 2002); children that were told before
    are not proposed, so there is no identity mutation; and members that turn out to be
    infeasible die before feasible ones.

    Raises:
        ValueError: If a number is out of range.
    """

    population: int = 32
    """Members alive at once, P in the paper."""
    tournament: int = 8
    """Members drawn for each parent, S in the paper, which takes a quarter of P."""
    batch: int = 8
    """Children of a generation, at most as many as the population."""

    def __post_init__(self) -> None:
        if self.population < 2:
            raise ValueError(f"population must be at least 2, got {self.population}")
        for name in ("tournament", "batch"):
            value = getattr(self, name)
            if not 1 <= value <= self.population:
                raise ValueError(
                    f"{name} must be between 1 and the population, "
                    f"{self.population}; got {value}"
                )

    def init(self, problem: Problem, seed: int) -> State:
        """Returns the empty state; see :class:`search.algorithm.Algorithm`."""
        return begin(problem, seed)

    def ask(self, problem: Problem, state: State) -> Genotypes:
        """Returns random members until the population is full, then mutants of it.

        Where one way finds no more that are new and feasible, the other fills up.
        """
        rng, space = state.rng, problem.space
        missing = self.population - len(state.genotypes)
        if not len(state.genotypes):
            return first_population(problem, self.batch, rng)
        ranks, crowding = fitness(state.objectives, state.violations)

        def anywhere(count: int) -> Genotypes:
            return space.sample(count, rng)

        def mutants(count: int) -> Genotypes:
            parents = tournament(ranks, crowding, self.tournament, count, rng)
            return space.mutate(state.genotypes[parents], rng, 0.0)

        if missing > 0:
            count = min(self.batch, missing)
            return propose(problem, state.told, count, anywhere, mutants)
        return propose(problem, state.told, self.batch, mutants, anywhere)

    def tell(
        self,
        problem: Problem,
        state: State,
        genotypes: Genotypes,
        objectives: Objectives,
        violations: Violations,
    ) -> State:
        """Returns the youngest members, the infeasible ones counted as the oldest."""
        genotypes = problem.space.canonical(genotypes)

        def alive(_: Objectives, misses: Violations) -> np.ndarray:
            dying = np.lexsort((np.arange(len(misses)), misses <= 0))
            return np.sort(dying[-self.population :])

        return state.after(genotypes, objectives, violations, alive)
