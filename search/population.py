"""Populations: how they begin, and how parents are picked from them.

References:
    Deb, Pratap, Agarwal, Meyarivan, "A fast and elitist multiobjective genetic
    algorithm: NSGA-II", 2002, https://doi.org/10.1109/4235.996017.
"""

import numpy as np
from jaxtyping import Float, Int

from search.algorithm import Objectives, State, Violations, first_seen, propose
from search.pareto import crowding_distance, non_dominated_ranks
from search.problem import Problem
from search.space import Genotypes

Ranks = Int[np.ndarray, " population"]
Crowding = Float[np.ndarray, " population"]


def begin(problem: Problem, seed: int) -> State:
    """Returns the state before the first generation.

    Raises:
        InfeasibleError: If nothing satisfies the bounds on cheap metrics.
        ValueError: If the seed is negative.
    """
    state = State.empty(problem, seed)
    problem.require_feasible(state.rng)
    return state


def first_population(
    problem: Problem, count: int, rng: np.random.Generator
) -> Genotypes:
    """Draws feasible members, the smallest first.

    Where they are rare, those found are mutated. Fewer than ``count`` are returned
    where no more are found, but at least one.

    Args:
        problem: Its bounds on cheap metrics say what is feasible.
        count: How many, at least 2.
        rng: Where the randomness comes from.
    """
    space = problem.space
    found = np.stack([space.smallest, problem.require_feasible(rng)])
    found = found[problem.feasible(found) & first_seen(found)]
    missing = count - len(found)
    drawn = propose(problem, found, missing, lambda n: space.sample(n, rng))
    found = np.concatenate([found, drawn])

    def near(number: int) -> Genotypes:
        return space.mutate(found[rng.integers(0, len(found), number)], rng, 0.0)

    varied = propose(problem, found, count - len(found), near)
    return np.concatenate([found, varied])


def at_least_one(
    problem: Problem, state: State, proposed: Genotypes
) -> Int[np.ndarray, "found genes"]:
    """Returns what is proposed or, at the beginning, a feasible member instead of none.

    Where feasible members are too rare to be drawn it is the one that
    :func:`begin` found.
    """
    if len(proposed) or len(state.told):
        return proposed
    return problem.require_feasible(state.rng)[None]


def keep_front(
    problem: Problem,
    state: State,
    genotypes: Genotypes,
    objectives: Objectives,
    violations: Violations,
) -> State:
    """Returns the next state where all that is kept is the best front so far.

    It is what :meth:`search.algorithm.Algorithm.tell` of algorithms does that do not
    learn from what they are told.
    """
    genotypes = problem.space.canonical(genotypes)

    def front(costs: Objectives, misses: Violations) -> np.ndarray:
        return non_dominated_ranks(costs, misses) == 0

    return state.after(genotypes, objectives, violations, front)


def fitness(objectives: Objectives, violations: Violations) -> tuple[Ranks, Crowding]:
    """Returns rank and, within each feasible front, crowding distance.

    Args:
        objectives: Infinite where infeasible.
        violations: 0 where feasible.
    """
    ranks = non_dominated_ranks(objectives, violations)
    crowding = np.zeros(len(ranks))
    for rank in np.unique(ranks[violations <= 0]):
        front = ranks == rank
        crowding[front] = crowding_distance(objectives[front])
    return ranks, crowding


def tournament(
    ranks: Ranks,
    crowding: Crowding,
    size: int,
    count: int,
    rng: np.random.Generator,
) -> Int[np.ndarray, " count"]:
    """Picks winners by the crowded comparison (Deb et al. 2002, section III-B).

    Args:
        ranks: 0 for the best.
        crowding: Larger is better among equal ranks.
        size: Members that compete, drawn with replacement.
        count: How many winners.
        rng: Where the randomness comes from.
    """
    winners, *others = rng.integers(0, len(ranks), (size, count))
    for rivals in others:
        better = (ranks[winners] < ranks[rivals]) | (
            (ranks[winners] == ranks[rivals]) & (crowding[winners] > crowding[rivals])
        )
        winners = np.where(better, winners, rivals)
    return winners
