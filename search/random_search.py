"""Random search: the baseline that every other algorithm must beat."""

import dataclasses

from search.algorithm import Objectives, State, Violations, propose
from search.population import at_least_one, begin, keep_front
from search.problem import Problem
from search.space import Genotypes


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomSearch:
    """Draws feasible members by rejection; its population is the best front so far.

    Raises:
        ValueError: If the batch is not positive.
    """

    batch: int = 32
    """Genotypes asked at once."""

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, got {self.batch}")

    def init(self, problem: Problem, seed: int) -> State:
        """Returns the empty state; see :class:`search.algorithm.Algorithm`."""
        return begin(problem, seed)

    def ask(self, problem: Problem, state: State) -> Genotypes:
        """Returns members not told before, uniform per gene."""
        rng = state.rng
        drawn = propose(
            problem, state.told, self.batch, lambda n: problem.space.sample(n, rng)
        )
        return at_least_one(problem, state, drawn)

    def tell(
        self,
        problem: Problem,
        state: State,
        genotypes: Genotypes,
        objectives: Objectives,
        violations: Violations,
    ) -> State:
        """Returns the state with the new genotypes in it."""
        return keep_front(problem, state, genotypes, objectives, violations)
