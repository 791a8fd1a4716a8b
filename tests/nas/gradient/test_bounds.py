"""Sets of bounds: all that the problem has, and one objective limited in turn."""

import dataclasses

import numpy as np
import pytest

from nas.errors import UsageError
from nas.gradient.bounds import bound_sets
from nas.gradient.checks import require_movable
from nas.gradient.rules import sets_of_bounds
from search.constraints import Bound, InfeasibleError
from search.problem import Problem
from search.space import Choice, Depth, Space
from supernets.gradient_search.specs import GradientSearch

SPACE = Space(
    layers=3,
    depth=Depth((1, 2, 3)),
    choices=(Choice("ffn", (1, 2, 4), per_layer=True),),
)
SCORES = ("loss", "error")
SPEC = GradientSearch(sweep=4)


def cheap(genotypes):
    runs = SPACE.active_layers(genotypes)
    units = np.asarray((1, 2, 4))[genotypes[:, 1:]]
    return {
        "params": (units * runs).sum(1).astype(float),
        "layers": runs.sum(1).astype(float),
        "debt": -runs.sum(1).astype(float),
    }


def problem_of(*bounds, objectives=("loss", "params")):
    parsed = tuple(Bound.parse(bound) for bound in bounds)
    return Problem(space=SPACE, objectives=objectives, bounds=parsed, cheap=cheap)


def sets(*bounds, objectives=("loss", "params"), spec=SPEC):
    return bound_sets(problem_of(*bounds, objectives=objectives), spec, SCORES)


def test_an_objective_is_limited_from_the_cheapest_to_its_bound():
    assert sets("params <= 9") == [{"params": limit} for limit in (3.0, 5.0, 7.0, 9.0)]


def test_without_a_bound_the_largest_subnet_is_the_end():
    limits = [found["params"] for found in sets()]
    np.testing.assert_allclose(limits, np.linspace(1, 12, 5)[1:])


def test_a_bound_on_another_metric_is_kept_in_every_search():
    found = sets("layers <= 2", "layers <= 1.5", "params <= 3")
    assert [limits["layers"] for limits in found] == [1.5] * 4
    assert [limits["params"] for limits in found] == [1.5, 2.0, 2.5, 3.0]


def test_several_objectives_are_limited_one_at_a_time():
    found = sets("params <= 9", "layers <= 3", objectives=("loss", "params", "layers"))
    assert found == [
        {"params": 3.0, "layers": 3.0},
        {"params": 5.0, "layers": 3.0},
        {"params": 7.0, "layers": 3.0},
        {"params": 9.0, "layers": 1.5},
        {"params": 9.0, "layers": 2.0},
        {"params": 9.0, "layers": 2.5},
        {"params": 9.0, "layers": 3.0},
    ]
    assert len(found) == sets_of_bounds(SPEC, 2)


def test_a_single_objective_is_searched_once():
    assert sets("params <= 9", objectives=("loss",)) == [{"params": 9.0}]
    assert sets(objectives=("error",)) == [{}]
    assert sets("params <= 9", spec=GradientSearch(sweep=1)) == [{"params": 9.0}]


def test_a_bound_that_only_the_cheapest_keeps_leaves_nothing_to_limit():
    assert sets("params <= 1") == [{"params": 1.0}]


def test_bounds_that_nothing_keeps_and_limits_that_are_no_measure_are_told():
    with pytest.raises(InfeasibleError, match=r"params <= 0\.5"):
        sets("params <= 0.5")
    with pytest.raises(UsageError, match=r"would limit debt to -"):
        sets(objectives=("loss", "debt"))


def test_a_choice_that_cannot_be_mixed_is_told_before_anything_starts():
    words = Choice("norm", ("rms", "layer"))
    space = dataclasses.replace(SPACE, choices=(*SPACE.choices, words))
    problem = dataclasses.replace(problem_of(), space=space)
    with pytest.raises(ValueError, match="choice 'norm' is not a size"):
        require_movable(problem, SPEC, SCORES)


def test_latencies_that_are_not_known_yet_are_no_reason_to_refuse():
    problem = problem_of(objectives=("loss", "latency_ms"))
    require_movable(problem, SPEC, SCORES)
    with pytest.raises(UsageError, match="would limit debt"):
        require_movable(problem_of(objectives=("loss", "debt")), SPEC, SCORES)
