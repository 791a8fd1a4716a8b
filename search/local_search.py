"""Local search: climb through neighbours to a locally optimal front, then start again.

References:
    Paquete, Chiarandini, Stuetzle, "Pareto Local Optimum Sets in the Biobjective
    Traveling Salesman Problem: An Experimental Study", 2004,
    https://doi.org/10.1007/978-3-642-17144-4_7.
    White, Nolen, Savani, "Exploring the Loss Landscape in Neural Architecture Search",
    2021, https://arxiv.org/abs/2005.02960 (local search as a strong baseline).
"""

import dataclasses

import numpy as np
from jaxtyping import Int

from search.algorithm import Objectives, State, Violations, propose, unknown
from search.pareto import non_dominated_ranks
from search.population import begin, first_population
from search.problem import Problem
from search.space import Genotypes


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalSearch:
    """Pareto local search (Paquete et al. 2004): hill climbing, of a front.

    The population is the front of this climb. A generation is neighbours of its
    members, of one after the other in random order; those that nothing dominates are
    accepted. A batch that they do not fill has random members too. When all neighbours
    of the front are known, it is a local optimum: a new climb starts from a batch of
    random members. With one objective this is hill climbing
    from the best of a few random members, as in White et al. 2021.

    Raises:
        ValueError: If the batch is below 2.
    """

    batch: int = 16
    """Neighbours asked at once, and members that a climb starts from."""

    def __post_init__(self) -> None:
        if self.batch < 2:
            raise ValueError(f"batch must be at least 2, got {self.batch}")

    def init(self, problem: Problem, seed: int) -> State:
        """Returns the empty state; see :class:`search.algorithm.Algorithm`."""
        return begin(problem, seed)

    def ask(self, problem: Problem, state: State) -> Genotypes:
        """Returns new neighbours of the front; random members fill up."""
        rng, space = state.rng, problem.space
        if not len(state.told):
            return first_population(problem, self.batch, rng)
        around = self._around(problem, state, rng)

        def anywhere(count: int) -> Genotypes:
            return space.sample(count, rng)

        known = np.concatenate([state.told, around])
        others = propose(problem, known, self.batch - len(around), anywhere)
        return np.concatenate([around, others])

    def _around(
        self, problem: Problem, state: State, rng: np.random.Generator
    ) -> Int[np.ndarray, "around genes"]:
        """Returns neighbours of the front that were not told, at most a batch."""
        told = len(state.told)
        found = state.told
        for member in rng.permutation(state.genotypes):
            if len(found) >= told + self.batch:
                break
            steps = rng.permutation(problem.space.neighbours(member))
            found = np.concatenate([found, unknown(problem, found, steps)])
        return found[told : told + self.batch]

    def tell(
        self,
        problem: Problem,
        state: State,
        genotypes: Genotypes,
        objectives: Objectives,
        violations: Violations,
    ) -> State:
        """Returns the front of this climb; a new start leaves the old one behind."""
        genotypes = problem.space.canonical(genotypes)
        climbing = len(self._around(problem, state, state.rng)) > 0
        left = 0 if climbing or not len(genotypes) else len(state.genotypes)

        def front(costs: Objectives, misses: Violations) -> np.ndarray:
            ranks = non_dominated_ranks(costs[left:], misses[left:])
            return left + np.flatnonzero(ranks == 0)

        return state.after(genotypes, objectives, violations, front)
