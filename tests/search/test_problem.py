"""Problems: violations, objectives, and whether anything is feasible at all."""

import json

import numpy as np
import pytest

from search.archive import Record
from search.constraints import Bound, InfeasibleError
from search.problem import Problem
from search.space import Choice, Space
from tests.search.toy import Toy


def generator():
    return np.random.default_rng(0)


def problem_with(*bounds, cheap=None, space=None):
    toy = Toy()
    parsed = tuple(map(Bound.parse, bounds))
    return Problem(
        space or toy.space, ("error", "latency_ms"), parsed, cheap or toy.cheap
    )


def test_violations_add_up_over_the_metrics_that_are_known():
    problem = problem_with("latency_ms <= 4", "error <= 0.5", "latency_ms >= 1")
    latency = np.asarray([2.0, 6.0, 8.0, 0.5])
    error = np.asarray([0.1, 0.75, 0.5, 1.0])
    assert problem.violations({"latency_ms": latency}).tolist() == [0, 0.5, 1.0, 0.5]
    both = problem.violations({"latency_ms": latency, "error": error})
    assert both.tolist() == [0, 1.0, 1.0, 1.5]
    assert problem.violations({"params": error}).tolist() == [0.0] * 4
    with pytest.raises(ValueError, match="no metrics"):
        problem.violations({})


def test_feasible_is_said_from_cheap_metrics_alone():
    toy = Toy(limit=10.0)
    members = toy.space.enumerate()
    expected = toy.cheap(members)["latency_ms"] <= 10
    assert (toy.problem.feasible(members) == expected).all()
    nothing = problem_with("error <= 0.5", cheap=lambda _: {})
    assert nothing.feasible(members).all()
    assert toy.problem.feasible(members[:0]).tolist() == []


def test_objectives_come_in_their_order():
    metrics = {"latency_ms": np.asarray([3.0]), "error": np.asarray([0.1])}
    assert problem_with().objectives_of(metrics).tolist() == [[0.1, 3.0]]
    with pytest.raises(ValueError, match=r"lack objectives \['error'\]"):
        problem_with().objectives_of({"latency_ms": np.asarray([3.0])})


def test_metrics_that_nothing_computes_are_refused_with_near_matches():
    problem_with("latency_ms <= 4").check(["error", "latency_ms"])
    with pytest.raises(
        ValueError, match=r"constraint 'latncy_ms <= 4'.*did you mean latency_ms\?"
    ):
        problem_with("latncy_ms <= 4").check(["error", "latency_ms"])
    with pytest.raises(ValueError, match=r"objective 'error'.*There are latency_ms"):
        problem_with().check(["latency_ms"])
    with pytest.raises(ValueError, match="There are no metrics"):
        problem_with().check([])


@pytest.mark.parametrize(
    ("objectives", "bounds", "message"),
    [
        ((), (), "at least one objective"),
        (("a", "a"), (), "objectives repeat"),
        (("a",), (Bound("a", 5.0, percent=True),), r"\['a <= 5%'\] are percentages"),
    ],
)
def test_bad_problems_are_refused(objectives, bounds, message):
    toy = Toy()
    with pytest.raises(ValueError, match=message):
        Problem(toy.space, objectives, bounds, toy.cheap)


def test_a_feasible_member_is_found_where_there_are_many():
    problem = Toy(limit=10.0).problem
    assert problem.feasible(problem.require_feasible(generator())[None]).all()
    assert problem_with(cheap=lambda _: {}).require_feasible(generator()) is not None


def test_a_single_feasible_member_is_reached_by_descent():
    space = Space((Choice("size", (0, 1, 2), per_layer=True),), layers=40)

    def cheap(genotypes):
        return {"ones": (genotypes == 1).sum(1).astype(float)}

    problem = problem_with("ones >= 40", cheap=cheap, space=space)
    assert problem.require_feasible(generator()).tolist() == [1] * 40


def test_the_bound_that_excludes_everything_is_named():
    problem = problem_with("latency_ms <= 2.5", "params <= 100")

    def cheap(genotypes):
        return problem.cheap(genotypes) | {"params": np.full(len(genotypes), 50.0)}

    with pytest.raises(InfeasibleError) as raised:
        problem_with(
            "latency_ms <= 2.5", "params <= 100", cheap=cheap
        ).require_feasible(generator())
    error = raised.value
    assert error.bound == Bound("latency_ms", 2.5)
    assert error.nearest == problem.space.decode(problem.space.smallest)
    assert error.value == 3.0
    assert json.dumps(error.nearest.to_json()) in str(error)
    assert str(error).endswith("raise the limit to at least 3")
    relaxed = problem_with("latency_ms <= 3", "params <= 100", cheap=cheap)
    relaxed.require_feasible(generator())


def test_of_bounds_that_only_exclude_each_other_the_one_missed_by_most_is_named():
    def cheap(genotypes):
        width = genotypes[:, 0].astype(float) + 1
        return {"cost": width, "quality": width}

    problem = problem_with("cost <= 1", "quality >= 3", cheap=cheap)
    with pytest.raises(InfeasibleError, match="satisfies 'quality >= 3'") as raised:
        problem.require_feasible(generator())
    assert raised.value.nearest["width"] == 1
    assert str(raised.value).endswith("lower the limit to at most 1")


def record(space, genotype, **metrics):
    arch = space.decode(genotype).to_json()
    return Record(tuple(genotype.tolist()), arch, metrics, "test", 0, 0.0)


def test_records_get_the_cheap_metrics_that_they_were_archived_without():
    problem, toy = problem_with(), Toy()
    members = toy.space.enumerate()[:2]
    expected = toy.cheap(members)["latency_ms"]
    without = record(toy.space, members[0], error=0.1)
    whole = record(toy.space, members[1], error=0.2, latency_ms=9.0)
    first, second = problem.completed([without, whole])
    assert first.metrics == {"error": 0.1, "latency_ms": float(expected[0])}
    # What is archived stays as it is.
    assert second == whole
    assert problem.completed([]) == ()
