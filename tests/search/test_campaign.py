"""Campaigns: replay, budgets, and what is never evaluated."""

import dataclasses

import numpy as np
import pytest

from search.archive import Archive
from search.campaign import generations, run_campaign
from search.constraints import Bound, InfeasibleError
from search.nsga2 import Nsga2
from search.pareto import hypervolume
from search.problem import Problem
from search.random_search import RandomSearch
from tests.search.toy import Toy


class Killed(Exception):
    pass


def run(toy, archive, *, evaluate=None, algorithm=None, **changes):
    settings = {"name": "test", "seed": 0, "budget": 30} | changes
    algorithm = algorithm or Nsga2(population=8)
    evaluate = evaluate or toy.evaluate
    return run_campaign(toy.problem, algorithm, evaluate, archive, **settings)


def genotypes_of(result):
    return [record.genotype for record in result.front]


def content(archive):
    return [dataclasses.replace(record, seconds=0.0) for record in archive.records]


def test_a_campaign_interrupted_anywhere_replays_to_the_same_result(tmp_path):
    straight, small = Archive(), {"algorithm": Nsga2(population=4), "budget": 15}
    expected = run(Toy(), straight, **small)
    # Three generations of 4 and one of 3, evaluated three at a time.
    for last in range(3 * 2 + 1):
        toy, path = Toy(), tmp_path / f"{last}.jsonl"
        finished = []

        def evaluate(genotypes, toy=toy, last=last, finished=finished):
            for part in toy.evaluate(genotypes):
                if len(finished) == last:
                    raise Killed
                yield part
                finished.append(len(toy.evaluated))

        with pytest.raises(Killed):
            run(toy, Archive(path), evaluate=evaluate, **small)
        # The part in flight is lost, and nothing before it.
        del toy.evaluated[finished[-1] if finished else 0 :]
        archived = [record.genotype for record in Archive(path).records]
        assert archived == toy.evaluated
        result = run(toy, archive := Archive(path), **small)
        assert content(archive) == content(straight)
        assert len(toy.evaluated) == len(set(toy.evaluated)) == 15
        assert genotypes_of(result) == genotypes_of(expected)
        assert result.history == expected.history


def test_a_finished_campaign_evaluates_nothing_when_it_runs_again():
    toy, archive = Toy(), Archive()
    first = run(toy, archive)
    before = list(toy.evaluated)
    assert run(toy, archive) == first
    assert toy.evaluated == before


def test_a_larger_budget_goes_on_where_a_smaller_one_stopped():
    toy, archive = Toy(), Archive()
    run(toy, archive, budget=13)
    run(toy, archive, budget=30)
    straight = Archive()
    run(Toy(), straight, budget=30)
    assert content(archive) == content(straight)
    assert [record.index for record in archive.records] == list(range(30))


def test_what_another_campaign_evaluated_is_not_evaluated_again():
    toy, archive = Toy(), Archive()
    run(toy, archive, name="random", algorithm=RandomSearch(batch=8))
    result = run(toy, archive, name="evolution")
    assert len(toy.evaluated) == len(set(toy.evaluated)) == len(archive)
    assert result.evaluations == 30
    assert {record.campaign for record in archive.records} == {"random", "evolution"}
    alone = run(Toy(), Archive(), name="evolution")
    assert result.history == alone.history


def test_the_budget_is_met_exactly_and_progress_is_told():
    toy, told = Toy(), []
    result = run(toy, Archive(), on_generation=told.append)
    assert [progress.evaluations for progress in told] == [8, 16, 24, 30]
    assert tuple(told) == result.history
    assert result.evaluations == len(toy.evaluated) == 30
    volumes = [progress.hypervolume for progress in told]
    assert volumes == sorted(volumes)
    best = [progress.best["error"] for progress in told]
    assert best == sorted(best, reverse=True)


def test_the_front_is_that_of_everything_evaluated():
    toy, archive = Toy(layers=3), Archive()
    reference = np.asarray([1.0, 41.0])
    result = run(toy, archive, budget=500, reference=reference)
    assert {record.genotype for record in result.front} == toy.front()
    errors = [record.metrics["error"] for record in result.front]
    assert errors == sorted(errors)
    objectives, _ = toy.outcome(np.asarray(sorted(toy.front()), np.int32))
    volume = hypervolume(objectives, reference)
    assert result.history[-1].hypervolume == pytest.approx(volume)


def test_an_exhausted_space_ends_the_campaign():
    toy = Toy(layers=2, limit=8.0)
    members = toy.space.enumerate()
    feasible = members[toy.problem.feasible(members)]
    result = run(toy, Archive(), budget=1000)
    assert result.evaluations == len(feasible)
    assert len(result.history) < 40


@dataclasses.dataclass(frozen=True)
class Careless:
    """Asks for whatever it draws, infeasible and repeated members too."""

    inner: RandomSearch = dataclasses.field(default_factory=RandomSearch)

    def init(self, problem, seed):
        return self.inner.init(problem, seed)

    def ask(self, problem, state):
        drawn = problem.space.sample(6, state.rng)
        return np.concatenate([drawn, drawn[:2], state.told[:2]])

    def tell(self, problem, state, genotypes, objectives, violations):
        assert (np.isinf(objectives).all(1) == (violations > 0)).all()
        return self.inner.tell(problem, state, genotypes, objectives, violations)


def test_infeasible_members_are_told_and_never_evaluated():
    toy = Toy(limit=9.0)
    archive = Archive()
    result = run(toy, archive, algorithm=Careless(), budget=12)
    assert result.evaluations == 12
    evaluated = np.asarray(toy.evaluated, np.int32)
    assert len(set(toy.evaluated)) == len(evaluated) == 12
    assert toy.problem.feasible(evaluated).all()
    assert [record.index for record in archive.records] == list(range(12))


def test_bounds_on_evaluated_metrics_keep_members_off_the_front():
    toy = Toy()
    bounds = (Bound("error", 0.2),)
    toy.problem = Problem(toy.space, toy.problem.objectives, bounds, toy.cheap)
    result = run(toy, Archive(), budget=60)
    assert result.evaluations == 60
    assert result.front
    assert all(record.metrics["error"] <= 0.2 for record in result.front)
    toy.problem = dataclasses.replace(toy.problem, bounds=(Bound("error", 0.001),))
    result = run(toy, Archive(), budget=20)
    assert (result.evaluations, result.front) == (20, ())
    assert result.history[-1].best == {}


def test_records_hold_cheap_and_evaluated_metrics_and_the_architecture():
    toy, archive = Toy(), Archive()
    run(toy, archive, budget=3)
    for record in archive.records:
        genotype = np.asarray(record.genotype, np.int32)
        assert record.arch == toy.space.decode(genotype).to_json()
        assert record.metrics == {
            "latency_ms": toy.cheap(genotype[None])["latency_ms"][0],
            "error": toy.error(genotype[None])[0],
        }


def test_generations_can_be_taken_one_by_one():
    toy = Toy()
    steps = generations(
        toy.problem,
        Nsga2(population=8),
        toy.evaluate,
        Archive(),
        name="test",
        seed=0,
        budget=20,
    )
    assert next(steps).evaluations == 8
    assert len(toy.evaluated) == 8
    assert [progress.evaluations for progress in steps] == [16, 20]


@pytest.mark.parametrize(
    ("evaluate", "message"),
    [
        (lambda toy, g: [(0, {"loss": toy.error(g)})], "nothing computes 'error'"),
        (
            lambda toy, g: [(1, {"error": toy.error(g)})],
            r"from row 1 on .* rows 0 to 8",
        ),
        (lambda toy, g: [(0, {"error": toy.error(g[:1])})], "for 1 of 8 rows"),
        (lambda *_: [(0, {})], "rows 0 to 8 were still open"),
        (lambda *_: [(0, {"error": np.zeros(9)})], "'error': 9.* rows 0 to 8"),
        (
            lambda *_: [(0, {"error": np.zeros(8), "loss": np.zeros(7)})],
            "'error': 8, 'loss': 7.* give all metrics",
        ),
        (lambda toy, g: [(0, {"error": toy.error(g) * np.nan})], "must be finite"),
    ],
)
def test_evaluations_that_do_not_fit_are_refused(evaluate, message):
    toy, archive = Toy(), Archive()
    with pytest.raises(ValueError, match=message):
        run(toy, archive, evaluate=lambda g: evaluate(toy, g))
    assert len(archive) <= 1


def test_campaigns_that_cannot_begin_are_refused():
    toy = Toy(limit=1.0)
    with pytest.raises(InfeasibleError, match="raise the limit to at least 3"):
        run(toy, Archive())
    with pytest.raises(ValueError, match="evaluations must be at least 1"):
        run(Toy(), Archive(), budget=0)
    assert toy.evaluated == []
