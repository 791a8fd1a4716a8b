"""What every search algorithm has to do; a new one is a new row of ALGORITHMS."""

import dataclasses
import json

import numpy as np
import pytest

from search.algorithm import Algorithm, State, first_seen
from search.constraints import Bound, InfeasibleError
from search.nsga2 import Nsga2
from search.pareto import hypervolume
from search.problem import Problem
from search.random_search import RandomSearch
from search.space import Choice, Depth, Space
from tests.search.toy import Toy

ALGORITHMS = [RandomSearch(batch=8), Nsga2(population=8)]
every_algorithm = pytest.mark.parametrize(
    "algorithm", ALGORITHMS, ids=lambda spec: type(spec).__name__
)


def advance(algorithm, toy, state, generations):
    """Asks and tells; returns what was asked and the states in between."""
    asked, states = [], [state]
    for _ in range(generations):
        asked.append(algorithm.ask(toy.problem, state))
        outcome = toy.outcome(asked[-1])
        state = algorithm.tell(toy.problem, state, asked[-1], *outcome)
        states.append(state)
    return asked, states


def rows(genotypes):
    return {tuple(row.tolist()) for row in genotypes}


@every_algorithm
def test_it_is_a_frozen_algorithm(algorithm):
    assert isinstance(algorithm, Algorithm)
    assert algorithm == dataclasses.replace(algorithm)
    with pytest.raises(dataclasses.FrozenInstanceError):
        algorithm.batch = 3


@every_algorithm
def test_it_asks_for_new_distinct_canonical_feasible_members(algorithm):
    toy = Toy(limit=15.0)
    asked, _ = advance(algorithm, toy, algorithm.init(toy.problem, 3), 6)
    everything = np.concatenate(asked)
    assert first_seen(everything).all()
    assert (toy.space.canonical(everything) == everything).all()
    assert toy.space.valid(everything).all()
    assert toy.problem.feasible(everything).all()
    assert [len(genotypes) for genotypes in asked] == [8] * 6


@every_algorithm
def test_the_seed_decides_and_asking_changes_nothing(algorithm):
    toy = Toy()
    state = algorithm.init(toy.problem, 1)
    assert (
        algorithm.ask(toy.problem, state) == algorithm.ask(toy.problem, state)
    ).all()
    first, states = advance(algorithm, toy, state, 4)
    again, _ = advance(algorithm, toy, algorithm.init(toy.problem, 1), 4)
    other, _ = advance(algorithm, toy, algorithm.init(toy.problem, 2), 4)
    assert (np.concatenate(first) == np.concatenate(again)).all()
    assert rows(np.concatenate(first)) != rows(np.concatenate(other))
    assert [s.generation for s in states] == [0, 1, 2, 3, 4]


@every_algorithm
def test_a_state_read_back_from_json_goes_on_exactly(algorithm):
    toy = Toy()
    asked, states = advance(algorithm, toy, algorithm.init(toy.problem, 1), 5)
    for generation, state in enumerate(states):
        text = json.dumps(state.to_json(), allow_nan=False)
        restored = State.from_json(json.loads(text))
        assert restored.to_json() == state.to_json()
        rest, _ = advance(algorithm, toy, restored, 5 - generation)
        for expected, found in zip(asked[generation:], rest, strict=True):
            assert (expected == found).all()


@every_algorithm
def test_infeasible_members_never_push_out_feasible_ones(algorithm):
    toy = Toy(limit=1e9)
    state = algorithm.init(toy.problem, 0)
    for _ in range(4):
        asked = algorithm.ask(toy.problem, state)
        objectives, violations = toy.outcome(asked)
        violations[::2], objectives[::2] = 1.0, np.inf
        feasible = rows(asked[1::2])
        state = algorithm.tell(toy.problem, state, asked, objectives, violations)
        bad = state.violations > 0
        assert np.isinf(state.objectives[bad]).all()
        assert not bad.any() or feasible <= rows(state.genotypes)
    assert rows(state.told) >= rows(state.genotypes)


@every_algorithm
def test_an_exhausted_space_has_been_asked_for_completely(algorithm):
    toy = Toy(layers=2, limit=8.0)
    members = toy.space.enumerate()
    feasible = members[toy.problem.feasible(members)]
    asked, states = advance(algorithm, toy, algorithm.init(toy.problem, 0), 6)
    assert rows(np.concatenate(asked)) == rows(feasible)
    assert asked[-1].shape == (0, toy.space.genes)
    assert toy.front() <= rows(states[-1].genotypes)


@every_algorithm
def test_rare_feasible_members_are_found_or_the_search_says_why(algorithm):
    space = Space((Choice("size", (0, 1, 2), per_layer=True),), layers=30)

    def cheap(genotypes):
        return {"ones": (genotypes == 1).sum(1).astype(float)}

    def problem(least):
        bound = Bound("ones", least, at_least=True)
        return Problem(space, ("ones",), (bound,), cheap)

    asked = algorithm.ask(problem(28.0), algorithm.init(problem(28.0), 0))
    assert len(asked)
    assert problem(28.0).feasible(asked).all()
    with pytest.raises(InfeasibleError, match="'ones >= 31'"):
        algorithm.init(problem(31.0), 0)


@every_algorithm
def test_free_depth_and_a_single_objective_are_searched_too(algorithm):
    space = Space((Choice("size", (1, 2)),), 5, Depth((2, 4), "free"))
    problem = Problem(space, ("cost",), (), lambda g: {"cost": g.sum(1).astype(float)})
    state = algorithm.init(problem, 0)
    for _ in range(3):
        asked = algorithm.ask(problem, state)
        cost = problem.objectives_of(problem.cheap(asked))
        state = algorithm.tell(problem, state, asked, cost, np.zeros(len(asked)))
    assert state.objectives.min() == 2.0


def test_evolution_finds_the_whole_front_from_a_part_of_the_space():
    toy = Toy(layers=5, limit=25.0)
    algorithm = Nsga2(population=32)
    _, states = advance(algorithm, toy, algorithm.init(toy.problem, 1), 14)
    assert len(states[-1].told) < toy.space.size.value / 2
    assert toy.front() <= rows(states[-1].genotypes)


def test_evolution_beats_random_search_at_equal_evaluations():
    toy = Toy(layers=10, limit=60.0)
    reference = np.asarray([1.0, 61.0])

    def reached(algorithm, seed):
        _, states = advance(algorithm, toy, algorithm.init(toy.problem, seed), 6)
        assert len(states[-1].told) == 96
        objectives, violations = toy.outcome(states[-1].told)
        return hypervolume(objectives[violations <= 0], reference)

    evolved = [reached(Nsga2(population=16), seed) for seed in range(10)]
    random = [reached(RandomSearch(batch=16), seed) for seed in range(10)]
    assert np.mean(evolved) > np.mean(random) + np.std(random)


def test_the_first_population_holds_the_smallest_member():
    toy = Toy()
    algorithm = Nsga2(population=8)
    asked = algorithm.ask(toy.problem, algorithm.init(toy.problem, 0))
    assert (asked == toy.space.smallest).all(1).any()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RandomSearch(batch=0), "batch must be at least 1, got 0"),
        (lambda: Nsga2(population=1), "population must be at least 2, got 1"),
        (
            lambda: Nsga2(crossover_probability=1.5),
            "crossover_probability must be between 0 and 1, got 1.5",
        ),
        (
            lambda: Nsga2(mutation_probability=-0.1),
            "mutation_probability must be between 0 and 1, got -0.1",
        ),
        (lambda: RandomSearch().init(Toy().problem, -1), "seed must not be negative"),
    ],
)
def test_bad_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": None}, "'seed' is None, not an integer"),
        ({"told": 3}, "'told' is 3, not a list"),
        ({"genotypes": [[1], [2, 3]]}, "'genotypes' is malformed"),
        ({"violations": [[1.0, 2.0]]}, "'violations' is malformed"),
    ],
)
def test_malformed_states_are_refused(change, message):
    toy = Toy()
    algorithm = RandomSearch(batch=2)
    _, states = advance(algorithm, toy, algorithm.init(toy.problem, 0), 1)
    with pytest.raises(ValueError, match=message):
        State.from_json(states[-1].to_json() | change)
