"""Evolution on a predictor."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from experiments.benchmarks.landscape import Landscape
from search.algorithm import State, first_seen
from search.archive import Archive
from search.campaign import run_campaign
from search.constraints import Bound
from search.nsga2 import Nsga2
from search.pareto import hypervolume
from search.predictors import Combination, GaussianProcess, Ridge
from search.problem import Problem
from search.surrogate import SurrogateEvolution

QUICK = SurrogateEvolution(
    batch=16, predictor=Ridge(), inner=Nsga2(population=32), generations=6
)
SEEDS = range(10)


def outcome(landscape, genotypes):
    """What an algorithm is told: objectives and violations."""
    metrics = landscape.cheap(genotypes) | {"loss": landscape.loss(genotypes)}
    violations = landscape.problem.violations(metrics)
    objectives = landscape.problem.objectives_of(metrics)
    objectives[violations > 0] = np.inf
    return objectives, violations


def search(algorithm, landscape, seed, evaluations):
    """Returns the last state of a search, and what was asked on the way."""
    state, asked = algorithm.init(landscape.problem, seed), []
    while len(state.told) < evaluations:
        asked.append(algorithm.ask(landscape.problem, state))
        told = outcome(landscape, asked[-1])
        state = algorithm.tell(landscape.problem, state, asked[-1], *told)
    return state, asked


def volume(landscape, state):
    objectives, _ = outcome(landscape, state.told)
    return hypervolume(objectives, landscape.reference)


def test_predictors_work_in_one_thread_and_leave_the_number_as_it_was(monkeypatch):
    def threads():
        parts = [part for part in threadpool_info() if part["user_api"] == "blas"]
        return {part["num_threads"] for part in parts}

    seen = []
    fit = Ridge.fit

    def noted(*arguments):
        seen.append(threads())
        return fit(*arguments)

    monkeypatch.setattr(Ridge, "fit", noted)
    with threadpool_limits(2, user_api="blas"):
        before = threads()
        search(QUICK, Landscape(), 0, 32)
        assert threads() == before != {1}
    assert seen
    assert all(found == {1} for found in seen)


@pytest.mark.slow
def test_it_reaches_what_nsga2_does_with_half_of_the_evaluations():
    landscape = Landscape()
    evolved = [
        volume(landscape, search(Nsga2(population=32), landscape, seed, 128)[0])
        for seed in SEEDS
    ]
    predicted = [
        volume(landscape, search(QUICK, landscape, seed, 64)[0]) for seed in SEEDS
    ]
    gains = np.asarray(predicted) - np.asarray(evolved)
    assert gains.mean() > 2 * gains.std(ddof=1) / np.sqrt(len(gains))


@pytest.mark.parametrize(
    "change",
    [
        {"predictor": GaussianProcess(iterations=5)},
        {"predictor": Combination(), "columns": ("params", "latency_ms")},
        {"columns": ("params",)},
    ],
    ids=["gaussian process", "combination", "columns"],
)
def test_every_predictor_can_drive_it(change):
    landscape = Landscape()
    spec = dataclasses.replace(QUICK, **change)
    state, asked = search(spec, landscape, 0, 48)
    again, _ = search(spec, landscape, 0, 48)
    assert [len(genotypes) for genotypes in asked] == [16] * 3
    assert first_seen(state.told).all()
    assert (state.told == again.told).all()
    assert landscape.problem.feasible(state.told).all()


def test_it_goes_on_exactly_from_json():
    landscape = Landscape()
    state, _ = search(QUICK, landscape, 3, 48)
    restored = State.from_json(json.loads(json.dumps(state.to_json())))
    expected = QUICK.ask(landscape.problem, state)
    assert (QUICK.ask(landscape.problem, restored) == expected).all()


def test_an_interrupted_campaign_ends_as_one_that_was_not():
    landscape = Landscape()

    def evaluate(genotypes):
        yield 0, {"loss": landscape.loss(genotypes)}

    def campaign(archive, budget):
        return run_campaign(
            landscape.problem,
            QUICK,
            evaluate,
            archive,
            name="test",
            seed=1,
            budget=budget,
        )

    whole, resumed = Archive(), Archive()
    result = campaign(whole, 56)
    campaign(resumed, 29)
    again = campaign(resumed, 56)
    assert [r.genotype for r in resumed.records] == [r.genotype for r in whole.records]
    assert [r.genotype for r in again.front] == [r.genotype for r in result.front]


def test_the_first_members_are_of_all_sizes():
    landscape = Landscape()
    free = dataclasses.replace(landscape.problem, bounds=())
    spec = SurrogateEvolution(batch=64)
    asked = spec.ask(free, spec.init(free, 0))
    uniform = free.space.sample(64, np.random.default_rng(0))
    spread, usual = (free.cheap(g)["params"].std() for g in (asked, uniform))
    assert spread > 1.3 * usual


def test_bounds_on_what_is_evaluated_are_learnt():
    landscape = Landscape()
    members = landscape.space.enumerate()
    limit = float(np.quantile(landscape.loss(members), 0.25))
    cheap = landscape.problem.cheap
    bounds = (Bound("loss", limit),)
    landscape.problem = Problem(landscape.space, ("params",), bounds, cheap)
    state, _ = search(QUICK, landscape, 0, 96)
    found = state.objectives[state.violations <= 0].min()
    params = cheap(members[landscape.loss(members) <= limit])["params"]
    assert (params < found).mean() < 0.001


def test_nothing_to_learn_from_does_not_stop_it():
    landscape = Landscape()
    state = QUICK.init(landscape.problem, 0)
    for _ in range(3):
        asked = QUICK.ask(landscape.problem, state)
        bad = np.full((len(asked), 2), np.inf), np.ones(len(asked))
        state = QUICK.tell(landscape.problem, state, asked, *bad)
    assert first_seen(state.told).all()
    assert len(state.told) == 48


def test_optimism_prefers_what_is_unknown():
    landscape = Landscape()
    state, _ = search(QUICK, landscape, 0, 32)
    careful, bold = (
        dataclasses.replace(QUICK, optimism=o).ask(landscape.problem, state)
        for o in (0.0, 3.0)
    )

    def distance(asked):
        return (asked[:, None] != state.told).sum(2).min(1).mean()

    assert distance(bold) > distance(careful)


def test_importing_it_loads_no_heavy_library():
    script = (
        "import sys, search.surrogate; "
        "print(sorted({'scipy', 'sklearn', 'jax'} & set(sys.modules)))"
    )
    line = [sys.executable, "-c", script]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SurrogateEvolution(batch=1), "batch must be at least 2, got 1"),
        (lambda: SurrogateEvolution(optimism=-1.0), "optimism must be at least 0"),
        (lambda: SurrogateEvolution(generations=0), "generations must be at least 1"),
        (
            lambda: SurrogateEvolution(columns=("macs",)).init(Landscape().problem, 0),
            r"columns \['macs'\] are not cheap metrics; there are \['latency_ms', 'p",
        ),
    ],
)
def test_bad_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
