"""Random search: the baseline that every other algorithm must beat."""

import dataclasses

import numpy as np

from search.algorithm import Objectives, State, Violations, propose
from search.pareto import non_dominated_ranks
from search.problem import Problem
from search.space import Genotypes


@dataclasses.dataclass(frozen=True)
class RandomSearch:
    """Draws feasible members by rejection; its population is the best front so far.

    Attributes:
        batch: Genotypes asked at once.

    Raises:
        ValueError: If the batch is not positive.
    """

    batch: int = 32

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, got {self.batch}")

    def init(self, problem: Problem, seed: int) -> State:
        """Returns the empty state; see :class:`search.algorithm.Algorithm`."""
        state = State.empty(problem, seed)
        problem.require_feasible(state.rng)
        return state

    def ask(self, problem: Problem, state: State) -> Genotypes:
        """Returns members not told before, uniform per gene."""
        rng = state.rng
        drawn = propose(
            problem, state.told, self.batch, lambda n: problem.space.sample(n, rng)
        )
        if len(drawn) or len(state.told):
            return drawn
        # Too rare to be drawn: at least the member that `init` found.
        return problem.require_feasible(state.rng)[None]

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

        def front(costs: Objectives, misses: Violations) -> np.ndarray:
            return non_dominated_ranks(costs, misses) == 0

        return state.after(genotypes, objectives, violations, front)
