"""What every search algorithm has to do; a new one is a new row of ALGORITHMS.

A row may be excused from a law, with a reason.
"""

import dataclasses
import json

import numpy as np
import pytest

from experiments.benchmarks.search_peer import PymooNsga2
from search.algorithm import Algorithm, State, first_seen
from search.archive import Archive
from search.campaign import run_campaign
from search.constrained_genetic import ConstrainedGenetic
from search.constraints import Bound, InfeasibleError
from search.exhaustive import Exhaustive
from search.local_search import LocalSearch
from search.mix_and_match import MixAndMatch
from search.nsga2 import Nsga2
from search.pareto import hypervolume
from search.predictors import Ridge
from search.problem import Problem
from search.random_search import RandomSearch
from search.regularized_evolution import RegularizedEvolution
from search.space import Choice, Depth, Space
from search.surrogate import SurrogateEvolution
from search.tune_searcher import Optuna, TuneSearcher
from tests.search.toy import Toy

BOTH = ("error", "latency_ms")
SEEDS = range(10)


@dataclasses.dataclass(frozen=True)
class Row:
    """An algorithm that asks for 16 genotypes at once, and what is expected of it.

    Its objectives are those it searches by; it is excused from the laws that its
    excuses name. If it is slow, it answers for laws over many searches in slow tests.
    """

    algorithm: Algorithm
    objectives: tuple[str, ...] = BOTH
    excuses: dict[str, str] = dataclasses.field(default_factory=dict)
    slow: bool = False


ALGORITHMS = [
    Row(
        SurrogateEvolution(
            batch=16,
            # The cheapest predictor: what is asked here does not depend on which.
            predictor=Ridge(),
            inner=Nsga2(population=32),
            generations=4,
        ),
        slow=True,
    ),
    Row(
        RandomSearch(batch=16),
        excuses={"search": "it is what the others have to beat"},
    ),
    Row(
        Exhaustive(batch=16),
        excuses={
            "search": "stopped early, it has drawn at random without replacement",
            "large": "it is for small spaces",
        },
    ),
    Row(
        MixAndMatch(batch=16),
        excuses={
            "search": "its list is given, and learns nothing",
            "seed": "its list is given",
            "whole": "its list is short",
        },
    ),
    Row(Nsga2(population=16)),
    Row(RegularizedEvolution(population=32, tournament=8, batch=16), slow=True),
    Row(LocalSearch(batch=16), slow=True),
    Row(
        # The quickest sampler: what is asked here does not depend on which.
        TuneSearcher(searcher=Optuna(sampler="nsga2", startup=16), batch=16),
        excuses={"search": "how well it searches is its own affair"},
    ),
    Row(ConstrainedGenetic(population=16), objectives=("error",), slow=True),
]


def every(law=None):
    """Parametrises a test with all rows that are not excused from a law."""
    rows = [
        pytest.param(
            row,
            id=type(row.algorithm).__name__,
            # Laws without a name take one search, the others many.
            marks=pytest.mark.slow if row.slow and law else (),
        )
        for row in ALGORITHMS
        if law not in row.excuses
    ]
    return pytest.mark.parametrize("row", rows)


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


def search(algorithm, toy, seed, evaluations):
    """Returns what a search of that many evaluations was told."""
    state = algorithm.init(toy.problem, seed)
    while len(state.told) < evaluations:
        asked = algorithm.ask(toy.problem, state)[: evaluations - len(state.told)]
        assert len(asked)
        state = algorithm.tell(toy.problem, state, asked, *toy.outcome(asked))
    return state.told


def volume(toy, told):
    """Returns the hypervolume of what was told, below the toy's limits."""
    limits = {"error": 1.0, "latency_ms": toy.problem.bounds[0].limit + 1}
    reference = np.asarray([limits[name] for name in toy.problem.objectives])
    return hypervolume(toy.outcome(told)[0], reference)


def at_least_as_good(values, baseline, *, errors):
    """Says whether the mean paired difference is so many standard errors above 0."""
    gains = np.asarray(values) - np.asarray(baseline)
    return gains.mean() > errors * gains.std(ddof=1) / np.sqrt(len(gains))


@every()
def test_it_is_a_frozen_algorithm(row):
    algorithm = row.algorithm
    assert isinstance(algorithm, Algorithm)
    assert algorithm == dataclasses.replace(algorithm)
    with pytest.raises(dataclasses.FrozenInstanceError):
        algorithm.batch = 3


@every()
def test_it_asks_for_new_distinct_canonical_feasible_members(row):
    toy = Toy(limit=15.0)
    algorithm = row.algorithm
    asked, _ = advance(algorithm, toy, algorithm.init(toy.problem, 3), 6)
    everything = np.concatenate(asked)
    assert first_seen(everything).all()
    assert (toy.space.canonical(everything) == everything).all()
    assert toy.space.valid(everything).all()
    assert toy.problem.feasible(everything).all()
    lengths = [len(genotypes) for genotypes in asked]
    if "whole" in row.excuses:
        assert lengths == sorted(lengths, reverse=True)
        assert lengths[0] == 16
    else:
        assert lengths == [16] * 6


@every()
def test_asking_changes_nothing_and_the_seed_gives_the_same_again(row):
    toy, algorithm = Toy(), row.algorithm
    state = algorithm.init(toy.problem, 1)
    once, again = (algorithm.ask(toy.problem, state) for _ in range(2))
    assert (once == again).all()
    first, states = advance(algorithm, toy, state, 4)
    again, _ = advance(algorithm, toy, algorithm.init(toy.problem, 1), 4)
    assert (np.concatenate(first) == np.concatenate(again)).all()
    assert [s.generation for s in states] == [0, 1, 2, 3, 4]


@every("seed")
def test_another_seed_asks_for_others(row):
    toy, algorithm = Toy(), row.algorithm
    first, other = (
        advance(algorithm, toy, algorithm.init(toy.problem, seed), 4)[0]
        for seed in (1, 2)
    )
    assert rows(np.concatenate(first)) != rows(np.concatenate(other))


@every()
def test_a_state_read_back_from_json_goes_on_exactly(row):
    toy, algorithm = Toy(), row.algorithm
    asked, states = advance(algorithm, toy, algorithm.init(toy.problem, 1), 5)
    for generation, state in enumerate(states):
        text = json.dumps(state.to_json(), allow_nan=False)
        restored = State.from_json(json.loads(text))
        assert restored.to_json() == state.to_json()
        rest, _ = advance(algorithm, toy, restored, 5 - generation)
        for expected, found in zip(asked[generation:], rest, strict=True):
            assert (expected == found).all()


@every()
def test_infeasible_members_never_push_out_feasible_ones(row):
    toy, algorithm = Toy(limit=1e9), row.algorithm
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


@every("whole")
def test_an_exhausted_space_has_been_asked_for_completely(row):
    toy, algorithm = Toy(layers=2, limit=8.0), row.algorithm
    members = toy.space.enumerate()
    feasible = members[toy.problem.feasible(members)]
    asked, states = advance(algorithm, toy, algorithm.init(toy.problem, 0), 6)
    assert rows(np.concatenate(asked)) == rows(feasible)
    lengths = [len(genotypes) for genotypes in asked]
    assert lengths == sorted(lengths, reverse=True)
    assert asked[-1].shape == (0, toy.space.genes)
    assert toy.front() <= rows(states[-1].told)


@every("large")
def test_rare_feasible_members_are_found_or_the_search_says_why(row):
    algorithm = row.algorithm
    space = Space((Choice("size", (0, 1, 2), per_layer=True),), layers=30)

    def cheap(genotypes):
        return {"ones": (genotypes == 1).sum(1).astype(float)}

    def problem(least):
        bound = Bound("ones", least, at_least=True)
        return Problem(space, ("ones",), (bound,), cheap)

    asked = algorithm.ask(problem(28.0), algorithm.init(problem(28.0), 0))
    assert len(asked)
    assert problem(28.0).feasible(asked).all()
    with pytest.raises(InfeasibleError, match="'ones >= 31'") as caught:
        algorithm.init(problem(31.0), 0)
    assert caught.value.nearest["size"] == (1,) * 30
    assert caught.value.value == 30.0


@every()
def test_free_depth_and_a_single_objective_are_searched_too(row):
    algorithm = row.algorithm
    space = Space((Choice("size", (1, 2)),), 5, Depth((2, 4), "free"))
    problem = Problem(space, ("cost",), (), lambda g: {"cost": g.sum(1).astype(float)})
    state = algorithm.init(problem, 0)
    for _ in range(3):
        asked = algorithm.ask(problem, state)
        cost = problem.objectives_of(problem.cheap(asked))
        state = algorithm.tell(problem, state, asked, cost, np.zeros(len(asked)))
    assert problem.cheap(state.told)["cost"].min() == 2.0


@every("search")
def test_it_finds_most_optima_in_a_third_of_the_space(row):
    toy = Toy(layers=5, limit=25.0, objectives=row.objectives)
    assert toy.problem.feasible(toy.space.enumerate()).sum() == 752
    optima = toy.front()
    found = [len(optima & rows(search(row.algorithm, toy, s, 256))) for s in range(5)]
    # A random third holds less than half of them.
    assert np.mean(found) >= 0.8 * len(optima)


@every("search")
def test_it_beats_random_search_at_equal_evaluations(row):
    toy = Toy(layers=10, limit=60.0, objectives=row.objectives)
    found, random = (
        [volume(toy, search(algorithm, toy, seed, 160)) for seed in SEEDS]
        for algorithm in (row.algorithm, RandomSearch(batch=16))
    )
    assert at_least_as_good(found, random, errors=2)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [60.0, 1e3], ids=["bound", "no bound"])
def test_nsga2_is_at_least_as_good_as_that_of_pymoo(limit):
    toy = Toy(layers=10, limit=limit)
    reference = np.asarray([1.0, 100.0])

    def reached(algorithm, seed):
        result = run_campaign(
            toy.problem,
            algorithm,
            toy.evaluate,
            Archive(),
            name="test",
            seed=seed,
            budget=96,
            reference=reference,
        )
        assert result.evaluations == 96
        return result.history[-1].hypervolume

    ours = [reached(Nsga2(population=16), seed) for seed in SEEDS]
    theirs = [reached(PymooNsga2(16), seed) for seed in SEEDS]
    assert at_least_as_good(ours, theirs, errors=0)


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
        (lambda: Exhaustive(batch=0), "batch must be at least 1, got 0"),
        (lambda: Exhaustive(limit=0), "limit must be at least 1, got 0"),
        (
            lambda: Exhaustive(limit=350).init(Toy().problem, 0),
            "351 members, more than its limit of 350: restrict the space",
        ),
        (lambda: MixAndMatch(batch=0), "batch must be at least 1, got 0"),
        (lambda: LocalSearch(batch=1), "batch must be at least 2, got 1"),
        (
            lambda: RegularizedEvolution(population=1),
            "population must be at least 2, got 1",
        ),
        (
            lambda: RegularizedEvolution(population=8, tournament=9, batch=8),
            "tournament must be between 1 and the population, 8; got 9",
        ),
        (
            lambda: RegularizedEvolution(batch=0),
            "batch must be between 1 and the population, 32; got 0",
        ),
        (
            lambda: ConstrainedGenetic(population=1),
            "population must be at least 2, got 1",
        ),
        (
            lambda: ConstrainedGenetic(parents=1.5),
            "parents must be between 0 and 1, got 1.5",
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
