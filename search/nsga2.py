"""NSGA-II: elitist multi-objective evolution with constrained domination.

References:
    Deb, Pratap, Agarwal, Meyarivan, "A fast and elitist multiobjective genetic
    algorithm: NSGA-II", 2002, https://doi.org/10.1109/4235.996017.
"""

import dataclasses

import numpy as np

from search.algorithm import Objectives, State, Violations, propose
from search.population import begin, first_population, fitness, tournament
from search.problem import Problem
from search.space import Genotypes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Nsga2:
    """Non-dominated sorting evolution over integer genotypes (Deb et al. 2002).

    Departs from the paper in what an integer genome and expensive evaluations ask for:
    uniform crossover and reset mutation instead of simulated binary crossover and
    polynomial mutation; a child is proposed only if it was never told before and
    satisfies the bounds on cheap metrics.

    Raises:
        ValueError: If a number is out of range.
    """

    population: int = 32
    """Members kept from one generation to the next, and children."""
    crossover_probability: float = 0.9
    """Share of the children that have two parents."""
    mutation_probability: float | None = None
    """Of each gene to be drawn anew; without it, one over the number of genes."""

    def __post_init__(self) -> None:
        if self.population < 2:
            raise ValueError(f"population must be at least 2, got {self.population}")
        for name in ("crossover_probability", "mutation_probability"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {value}")

    def init(self, problem: Problem, seed: int) -> State:
        """Returns the empty state; see :class:`search.algorithm.Algorithm`."""
        return begin(problem, seed)

    def ask(self, problem: Problem, state: State) -> Genotypes:
        """Returns the first population, then children of the current one.

        Where no more children are new and feasible, members drawn anywhere fill up.
        """
        rng, space = state.rng, problem.space
        if not len(state.genotypes):
            return first_population(problem, self.population, rng)
        ranks, crowding = fitness(state.objectives, state.violations)

        def breed(count: int) -> Genotypes:
            first = state.genotypes[tournament(ranks, crowding, 2, count, rng)]
            second = state.genotypes[tournament(ranks, crowding, 2, count, rng)]
            return self._vary(problem, first, second, rng)

        def anywhere(count: int) -> Genotypes:
            return space.sample(count, rng)

        return propose(problem, state.told, self.population, breed, anywhere)

    def _vary(
        self,
        problem: Problem,
        first: Genotypes,
        second: Genotypes,
        rng: np.random.Generator,
    ) -> Genotypes:
        space = problem.space
        rate = self.mutation_probability
        rate = 1 / space.genes if rate is None else rate
        # A gene that is drawn anew can get the value that it had.
        changes = rate * (1 - 1 / space.cardinalities)
        touched = 1 - np.prod(1 - changes)
        # `mutate` changes one gene for certain: others make up the expected number.
        others = changes.sum() / max(touched, np.finfo(float).tiny) - 1
        others = float(np.clip(others / max(space.genes - 1, 1), 0, 1))
        crossed = rng.random(len(first)) < self.crossover_probability
        children = np.where(
            crossed[:, None], space.crossover(first, second, rng), first
        )
        mutated = rng.random(len(first)) < touched
        return np.where(mutated[:, None], space.mutate(children, rng, others), children)

    def tell(
        self,
        problem: Problem,
        state: State,
        genotypes: Genotypes,
        objectives: Objectives,
        violations: Violations,
    ) -> State:
        """Returns the best of parents and children (Deb et al. 2002, section III-C)."""
        genotypes = problem.space.canonical(genotypes)

        def best(costs: Objectives, misses: Violations) -> np.ndarray:
            ranks, crowding = fitness(costs, misses)
            return np.lexsort((-crowding, ranks))[: self.population]

        return state.after(genotypes, objectives, violations, best)
