"""NSGA-II: elitist multi-objective evolution with constrained domination.

References:
    Deb, Pratap, Agarwal, Meyarivan, "A fast and elitist multiobjective genetic
    algorithm: NSGA-II", 2002, https://doi.org/10.1109/4235.996017.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from search.algorithm import Objectives, State, Violations, first_seen, propose
from search.pareto import crowding_distance, non_dominated_ranks
from search.problem import Problem
from search.space import Genotypes


@dataclasses.dataclass(frozen=True)
class Nsga2:
    """Non-dominated sorting evolution over integer genotypes (Deb et al. 2002).

    Departs from the paper in what an integer genome and expensive evaluations ask for:
    uniform crossover and reset mutation instead of simulated binary crossover and
    polynomial mutation; a child is proposed only if it was never told before and
    satisfies the bounds on cheap metrics.

    Attributes:
        population: Members kept from one generation to the next, and children.
        crossover_probability: Share of the children that have two parents.
        mutation_probability: Of each gene; ``None`` is one over the number of genes.

    Raises:
        ValueError: If a number is out of range.
    """

    population: int = 32
    crossover_probability: float = 0.9
    mutation_probability: float | None = None

    def __post_init__(self) -> None:
        if self.population < 2:
            raise ValueError(f"population must be at least 2, got {self.population}")
        for name in ("crossover_probability", "mutation_probability"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {value}")

    def init(self, problem: Problem, seed: int) -> State:
        """Returns the empty state; see :class:`search.algorithm.Algorithm`."""
        state = State.empty(problem, seed)
        problem.require_feasible(state.rng)
        return state

    def ask(self, problem: Problem, state: State) -> Genotypes:
        """Returns the first population, then children of the current one.

        Where no more children are new and feasible, members drawn anywhere fill up.
        """
        rng, space = state.rng, problem.space
        if not len(state.genotypes):
            return self._first(problem, rng)
        ranks, crowding = _fitness(state.objectives, state.violations)

        def breed(count: int) -> Genotypes:
            first = state.genotypes[_tournament(ranks, crowding, count, rng)]
            second = state.genotypes[_tournament(ranks, crowding, count, rng)]
            return self._vary(problem, first, second, rng)

        children = propose(problem, state.told, self.population, breed)
        known = np.concatenate([state.told, children])
        missing = self.population - len(children)
        others = propose(problem, known, missing, lambda n: space.sample(n, rng))
        return np.concatenate([children, others])

    def _first(self, problem: Problem, rng: np.random.Generator) -> Genotypes:
        """Draws by rejection; where feasible members are rare, mutates those found."""
        space = problem.space
        found = np.stack([space.smallest, problem.require_feasible(rng)])
        found = found[problem.feasible(found) & first_seen(found)]
        missing = self.population - len(found)
        drawn = propose(problem, found, missing, lambda n: space.sample(n, rng))
        found = np.concatenate([found, drawn])

        def near(count: int) -> Genotypes:
            return space.mutate(found[rng.integers(0, len(found), count)], rng, 0.0)

        varied = propose(problem, found, self.population - len(found), near)
        return np.concatenate([found, varied])

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
        crossed = rng.random(len(first)) < self.crossover_probability
        children = np.where(
            crossed[:, None], space.crossover(first, second, rng), first
        )
        # `mutate` changes at least one gene: leave out those it would not have touched.
        mutated = rng.random(len(first)) >= (1 - rate) ** space.genes
        return np.where(mutated[:, None], space.mutate(children, rng, rate), children)

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
            ranks, crowding = _fitness(costs, misses)
            return np.lexsort((-crowding, ranks))[: self.population]

        return state.after(genotypes, objectives, violations, best)


def _fitness(
    objectives: Objectives, violations: Violations
) -> tuple[Int[np.ndarray, " population"], Float[np.ndarray, " population"]]:
    """Returns rank and, within each feasible front, crowding distance."""
    ranks = non_dominated_ranks(objectives, violations)
    crowding = np.zeros(len(ranks))
    for rank in np.unique(ranks[violations <= 0]):
        front = ranks == rank
        crowding[front] = crowding_distance(objectives[front])
    return ranks, crowding


def _tournament(
    ranks: Int[np.ndarray, " population"],
    crowding: Float[np.ndarray, " population"],
    count: int,
    rng: np.random.Generator,
) -> Int[np.ndarray, " count"]:
    """Picks winners of pairs by the crowded comparison (Deb et al. 2002, III-B)."""
    a, b = rng.integers(0, len(ranks), (2, count))
    better = (ranks[a] < ranks[b]) | (
        (ranks[a] == ranks[b]) & (crowding[a] > crowding[b])
    )
    return np.where(better, a, b)
