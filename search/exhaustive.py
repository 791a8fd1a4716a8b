"""Exhaustive search: every member of a small space, the truth for all the others."""

import dataclasses

import numpy as np

from search.algorithm import Objectives, State, Violations, unknown
from search.population import begin, keep_front
from search.problem import Problem
from search.space import Genotypes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exhaustive:
    """Asks for every feasible member, in an order drawn from the seed.

    Stopped early, it has therefore seen a random sample of the space.

    Raises:
        ValueError: If a number is not positive.
    """

    batch: int = 64
    """Genotypes asked at once."""
    limit: int = 20_000
    """Largest space that is searched so, counted without its rules."""

    def __post_init__(self) -> None:
        for name in ("batch", "limit"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 1, got {getattr(self, name)}"
                )

    def init(self, problem: Problem, seed: int) -> State:
        """Returns the empty state; see :class:`search.algorithm.Algorithm`.

        Raises:
            ValueError: If the space is larger than the limit.
        """
        if (members := sum(problem.space.members_by_depth)) > self.limit:
            raise ValueError(
                f"exhaustive search of {members:,} members, more than its limit of "
                f"{self.limit:,}: restrict the space, take another algorithm, or raise "
                "the limit if that many evaluations are meant"
            )
        return begin(problem, seed)

    def ask(self, problem: Problem, state: State) -> Genotypes:
        """Returns the next members that were not told before."""
        members = problem.space.enumerate(self.limit)
        order = np.random.default_rng(state.seed).permutation(len(members))
        left = unknown(problem, state.told, members[order])
        return left[: self.batch]

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
