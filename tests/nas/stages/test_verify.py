"""Which subnets are measured before a front is shown."""

import dataclasses

import numpy as np
import pytest

from nas.stages.verify import _kept, _why, candidates
from search.archive import Record
from search.constraints import Bound, InfeasibleError
from search.problem import Problem
from search.space import Choice, Space

SPACE = Space((Choice("width", tuple(range(1, 21))),))


def problem_with(*bounds):
    return Problem(SPACE, ("loss", "latency_ms"), tuple(map(Bound.parse, bounds)), dict)


def records_of(points):
    """A record for each (loss, latency)."""
    return tuple(
        Record(
            genotype=(index,),
            arch=SPACE.decode(np.asarray([index], np.int32)).to_json(),
            metrics={"loss": loss, "latency_ms": latency},
            campaign="test",
            index=index,
            seconds=0.0,
        )
        for index, (loss, latency) in enumerate(points)
    )


FRONT = [(1.0, 9.0), (2.0, 7.0), (3.0, 5.0), (4.0, 3.0), (5.0, 1.0)]
BEHIND = [(loss + 0.5, latency + 0.5) for loss, latency in FRONT]


def chosen(count, *bounds, points=(*BEHIND, *FRONT)):
    found = candidates(problem_with(*bounds), records_of(points), count)
    return [(r.metrics["loss"], r.metrics["latency_ms"]) for r in found]


def test_the_front_comes_first_and_then_what_lies_behind_it():
    assert set(chosen(5)) == set(FRONT)
    first, behind = chosen(7)[:5], chosen(7)[5:]
    assert set(first) == set(FRONT)
    assert set(behind) <= set(BEHIND)
    assert len(chosen(99)) == 10


def test_a_front_with_too_many_is_thinned_from_end_to_end():
    assert chosen(3) == [FRONT[4], FRONT[2], FRONT[0]]


def test_records_of_an_earlier_search_may_lack_what_a_later_one_computes():
    first, *others = records_of(FRONT)
    proxy = {**first.metrics, "proxy_synflow": 1.0}
    for mixed in (
        [dataclasses.replace(first, metrics=proxy), *others],
        [*others, dataclasses.replace(first, metrics=proxy)],
    ):
        assert len(candidates(problem_with(), tuple(mixed), 9)) == len(FRONT)


def test_what_violates_a_bound_is_not_measured():
    assert set(chosen(5, "latency_ms <= 5")) == {*FRONT[2:], *BEHIND[3:]}
    assert set(chosen(9, "latency_ms <= 5", "loss <= 4")) == set(FRONT[2:4])


def test_a_loss_that_nothing_reached_is_infeasible_with_the_nearest():
    with pytest.raises(InfeasibleError, match=r"'loss <= 0\.5': the nearest") as caught:
        chosen(5, "loss <= 0.5")
    assert caught.value.value == 1.0
    assert caught.value.nearest["width"] == 6


def why(*shown, cost="latency_ms", **metrics):
    columns = {name: np.asarray(values) for name, values in metrics.items()}
    rows = np.arange(len(columns[cost]))
    return [_why(columns, rows, place, shown, cost) for place in range(len(rows))]


def test_members_of_a_front_of_two_objectives_are_the_best_up_to_their_latency():
    assert why("error", latency_ms=[1.0, 2.0, 3.0], error=[0.3, 0.2, 0.1]) == [
        "fastest of the front",
        "lowest error of all up to 2 ms",
        "lowest error within the constraints",
    ]
    alone = "fastest of the front; lowest loss within the constraints"
    assert why("loss", latency_ms=[1.0], loss=[2.0]) == [alone]


def test_members_are_the_best_up_to_what_they_are_ordered_by():
    found = why("loss", cost="bops", bops=[1e9, 2.5e9, 3e9], loss=[0.3, 0.2, 0.1])
    assert found == [
        "fewest bit operations of the front",
        "lowest loss of all up to 2.5 G bit operations",
        "lowest loss within the constraints",
    ]


def test_a_front_is_in_the_order_of_its_cost():
    problem = Problem(SPACE, ("loss", "size_mb"), (), dict)
    metrics = {
        "loss": np.asarray([1.0, 3.0, 2.0, 3.0]),
        "size_mb": np.asarray([3.0, 1.0, 2.0, 1.0]),
        "latency_ms": np.asarray([1.0, 5.0, 4.0, 2.0]),
    }
    # Of equal size, the faster one comes first.
    assert _kept(problem, metrics, "size_mb").tolist() == [3, 1, 2, 0]


def test_of_several_scores_those_that_a_member_is_the_best_at_are_named():
    found = why(
        "error_digit",
        "error_corner",
        latency_ms=[1.0, 2.0, 3.0, 4.0],
        error_digit=[0.4, 0.5, 0.2, 0.3],
        error_corner=[0.3, 0.1, 0.4, 0.2],
    )
    assert found == [
        "fastest of the front",
        "lowest error of corner within the constraints",
        "lowest error of digit within the constraints",
        "none is as good or better in all objectives",
    ]
