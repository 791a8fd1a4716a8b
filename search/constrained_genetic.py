"""The genetic search of weight-sharing supernets: rejection keeps it within bounds.

References:
    Cai, Gan, Wang, Zhang, Han, "Once-for-All: Train One Network and Specialize it for
    Efficient Deployment", 2020, https://arxiv.org/abs/1908.09791.
    Chen, Peng, Fu, Ling, "AutoFormer: Searching Transformers for Visual Recognition",
    2021, https://arxiv.org/abs/2107.00651 (section 3.3).
"""

import dataclasses

import numpy as np

from search.algorithm import Objectives, State, Violations, propose
from search.pareto import non_dominated_ranks
from search.population import begin, first_population
from search.problem import Problem
from search.space import Genotypes


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConstrainedGenetic:
    """Minimises the first objective within the bounds (Cai 2020, Chen 2021).

    The best members of all generations are parents. A generation is mutants of random
    parents, then uniform crossovers of two of them; both are drawn again until they
    satisfy the bounds on cheap metrics and are new, and random members fill up.
    The other objectives do not guide it: put bounds on them. The front of everything
    told is kept all the same.

    Once-for-All has a population of 100, a quarter of it parents, and mutates a tenth
    of the genes; AutoFormer has 50, a fifth, and a fifth (two fifths of depth and
    width). Both make half of the population mutants.

    Raises:
        ValueError: If a number is out of range.
    """

    population: int = 50
    """Genotypes asked in each generation."""
    parents: float = 0.25
    """Share of the population that may have children: the best ones so far."""
    mutants: float = 0.5
    """Share of a generation that is mutated; the rest has two parents."""
    mutation_probability: float = 0.1
    """Of each gene of a mutant, of which at least one changes."""

    def __post_init__(self) -> None:
        if self.population < 2:
            raise ValueError(f"population must be at least 2, got {self.population}")
        for name in ("parents", "mutants", "mutation_probability"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {value}")

    def init(self, problem: Problem, seed: int) -> State:
        """Returns the empty state; see :class:`search.algorithm.Algorithm`."""
        return begin(problem, seed)

    def ask(self, problem: Problem, state: State) -> Genotypes:
        """Returns the first population, then mutants and crossovers of the best."""
        rng, space = state.rng, problem.space
        if not len(state.genotypes):
            return first_population(problem, self.population, rng)
        parents = state.genotypes[self._best(state.objectives, state.violations)]

        def any_parents(count: int) -> Genotypes:
            return parents[rng.integers(0, len(parents), count)]

        def mutants(count: int) -> Genotypes:
            return space.mutate(any_parents(count), rng, self.mutation_probability)

        def crossovers(count: int) -> Genotypes:
            return space.crossover(any_parents(count), any_parents(count), rng)

        def anywhere(count: int) -> Genotypes:
            return space.sample(count, rng)

        wanted = round(self.mutants * self.population)
        mutated = propose(problem, state.told, wanted, mutants)
        known = np.concatenate([state.told, mutated])
        missing = self.population - len(mutated)
        others = propose(problem, known, missing, crossovers, anywhere)
        return np.concatenate([mutated, others])

    def _best(self, objectives: Objectives, violations: Violations) -> np.ndarray:
        """Returns the rows of the parents, the best first."""
        count = max(round(self.parents * self.population), 2)
        return np.lexsort((objectives[:, 0], violations))[:count]

    def tell(
        self,
        problem: Problem,
        state: State,
        genotypes: Genotypes,
        objectives: Objectives,
        violations: Violations,
    ) -> State:
        """Returns the best by the first objective, and the front by all of them."""
        genotypes = problem.space.canonical(genotypes)

        def kept(costs: Objectives, misses: Violations) -> np.ndarray:
            front = np.flatnonzero(non_dominated_ranks(costs, misses) == 0)
            return np.union1d(self._best(costs, misses), front)

        return state.after(genotypes, objectives, violations, kept)
