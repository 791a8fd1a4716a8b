"""What a search algorithm is: three pure functions on a state that is plain data."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from search.problem import Problem
from search.space import Genotypes

Objectives = Float[np.ndarray, "population objectives"]
Violations = Float[np.ndarray, " population"]

ROUNDS = 20
"""Batches drawn before a proposal is left shorter than was asked for."""

SMALLEST_BATCH = 128
"""Fewest genotypes drawn at once while looking for feasible ones."""


@dataclasses.dataclass(frozen=True, eq=False)
class State:
    """Everything an algorithm knows between two generations.

    There is no generator state in it: generation ``g`` draws from
    ``np.random.default_rng([seed, g])``.

    Attributes:
        seed: Of the whole search, not negative.
        generation: How often the algorithm has been told.
        genotypes: The current population.
        objectives: Its objectives, infinite where infeasible.
        violations: Its violations, 0 where feasible.
        told: Every genotype told so far, in order.
    """

    seed: int
    generation: int
    genotypes: Genotypes
    objectives: Objectives
    violations: Violations
    told: Int[np.ndarray, "told genes"]

    @classmethod
    def empty(cls, problem: Problem, seed: int) -> "State":
        """Returns the state before the first generation.

        Raises:
            ValueError: If the seed is negative.
        """
        if seed < 0:
            raise ValueError(f"a seed must not be negative, got {seed}")
        none = np.zeros((0, problem.space.genes), np.int32)
        objectives = np.zeros((0, len(problem.objectives)))
        return cls(seed, 0, none, objectives, np.zeros(0), none)

    @property
    def rng(self) -> np.random.Generator:
        """The generator of this generation, always from its beginning."""
        return np.random.default_rng([self.seed, self.generation])

    def after(
        self,
        genotypes: Genotypes,
        objectives: Objectives,
        violations: Violations,
        keep: Callable[[Objectives, Violations], np.ndarray],
    ) -> "State":
        """Returns the next generation: what an algorithm keeps of old and new members.

        Args:
            genotypes: What was told, canonical.
            objectives: Infinite where infeasible.
            violations: 0 where feasible.
            keep: Picks rows of the current population with the new members behind it.
        """
        pool = np.concatenate([self.genotypes, genotypes])
        costs = np.concatenate([self.objectives, objectives])
        misses = np.concatenate([self.violations, violations])
        kept = keep(costs, misses)
        return State(
            self.seed,
            self.generation + 1,
            pool[kept],
            costs[kept],
            misses[kept],
            np.concatenate([self.told, genotypes]),
        )

    def to_json(self) -> dict[str, object]:
        """Returns a JSON object; :meth:`from_json` is its exact inverse."""
        return {
            "seed": self.seed,
            "generation": self.generation,
            "genes": self.genotypes.shape[1],
            "objective_count": self.objectives.shape[1],
            "genotypes": self.genotypes.tolist(),
            "objectives": _finite_or_none(self.objectives),
            "violations": _finite_or_none(self.violations),
            "told": self.told.tolist(),
        }

    @classmethod
    def from_json(cls, encoded: Mapping[str, object]) -> "State":
        """Rebuilds a state from :meth:`to_json`.

        Raises:
            ValueError: If a part is missing or malformed.
        """

        def integer(name: str) -> int:
            value = encoded.get(name)
            if not isinstance(value, int):
                raise ValueError(f"search state: {name!r} is {value!r}, not an integer")
            return value

        def array(name: str, *columns: int) -> np.ndarray:
            value = encoded.get(name)
            if not isinstance(value, list):
                raise ValueError(f"search state: {name!r} is {value!r}, not a list")
            try:
                return np.asarray(value, float).reshape(len(value), *columns)
            except (TypeError, ValueError) as error:
                raise ValueError(f"search state: {name!r} is malformed") from error

        genes, objectives = integer("genes"), integer("objective_count")
        return cls(
            integer("seed"),
            integer("generation"),
            array("genotypes", genes).astype(np.int32),
            _none_to_infinite(array("objectives", objectives)),
            _none_to_infinite(array("violations")),
            array("told", genes).astype(np.int32),
        )


@runtime_checkable
class Algorithm(Protocol):
    """An ask/tell search over genotypes, itself a frozen specification.

    Asking is pure: the same state gives the same answer, so a search is resumed by
    replaying it.
    """

    def init(self, problem: Problem, seed: int) -> State:
        """Returns the state before the first generation.

        Raises:
            InfeasibleError: If nothing satisfies the bounds on cheap metrics.
            ValueError: If the seed is negative, or the space not one to search so.
        """
        ...

    def ask(self, problem: Problem, state: State) -> Genotypes:
        """Returns the genotypes to evaluate next.

        They are canonical, distinct, and none has been told before. There are fewer
        than usual, or none, when no more are found.
        """
        ...

    def tell(
        self,
        problem: Problem,
        state: State,
        genotypes: Genotypes,
        objectives: Objectives,
        violations: Violations,
    ) -> State:
        """Returns the state of the next generation.

        Args:
            problem: What is searched.
            state: The state that was asked.
            genotypes: All or some of the answer.
            objectives: Infinite where infeasible.
            violations: 0 where feasible.
        """
        ...


def propose(
    problem: Problem,
    known: Int[np.ndarray, "known genes"],
    count: int,
    *draws: Callable[[int], Genotypes],
) -> Int[np.ndarray, "proposed genes"]:
    """Collects distinct feasible genotypes that are not known yet.

    Draws at most ``ROUNDS`` batches each way, so the answer can be shorter than
    ``count``.

    Args:
        problem: Its bounds on cheap metrics say what is feasible.
        known: Canonical genotypes to leave out.
        count: How many to collect.
        *draws: Ways to draw that many canonical genotypes, other ones at each call;
            a later one is used where those before it found too few.
    """
    found = known
    wanted = len(known) + count
    for draw in draws:
        size = max(4 * (wanted - len(found)), SMALLEST_BATCH)
        for _ in range(ROUNDS):
            if len(found) >= wanted:
                break
            found = np.concatenate([found, unknown(problem, found, draw(size))])
    return found[len(known) : wanted]


def unknown(
    problem: Problem, known: Int[np.ndarray, "known genes"], genotypes: Genotypes
) -> Int[np.ndarray, "unknown genes"]:
    """Returns those of the genotypes that are feasible and not known, each once.

    Args:
        problem: Its bounds on cheap metrics say what is feasible.
        known: Canonical genotypes to leave out.
        genotypes: Canonical ones, whose order is kept.
    """
    new = genotypes[first_seen(np.concatenate([known, genotypes]))[len(known) :]]
    return new[problem.feasible(new)]


def first_seen(genotypes: Genotypes) -> Bool[np.ndarray, " population"]:
    """Returns which genotypes are not a copy of one before them."""
    # Hashing rows takes a quarter of the time of sorting them, which np.unique does.
    places = {row.tobytes(): at for at, row in reversed([*enumerate(genotypes)])}
    first = np.zeros(len(genotypes), bool)
    first[list(places.values())] = True
    return first


def _finite_or_none(values: Float[np.ndarray, "..."]) -> list[object]:
    """Returns nested lists with None for infinity, which JSON cannot say."""
    boxed = values.astype(object)
    boxed[np.isinf(values)] = None
    return boxed.tolist()


def _none_to_infinite(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    # As a float, None is NaN; a state holds no other NaN.
    return np.where(np.isnan(values), np.inf, values)
