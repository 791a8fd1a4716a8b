"""Cheap metrics of one's own: imported by name, one finite number each."""

import sys
import types

import numpy as np
import pytest

from nas.errors import UsageError
from nas.experiment import Experiment, Search
from nas.metrics import CheapMetrics, make_problem
from nas.own_metrics import own_metrics
from search.constraints import Bound
from tests.nas.latency.test_table import MODEL, SPACE


def energy_mj(architecture):
    return architecture["width"] / 2 + len(architecture.layers)


@pytest.fixture(autouse=True)
def _costs(monkeypatch):
    """A module as a user may have one."""
    module = types.ModuleType("own_costs")
    module.energy_mj = energy_mj
    module.count = lambda architecture: np.asarray(len(architecture.layers))
    module.number = 3
    module.undefined = lambda _: float("nan")
    module.many = lambda architecture: [0.0] * len(architecture.layers)
    module.array = lambda _: np.zeros(2)
    module.missing = lambda architecture: architecture["energy"]
    monkeypatch.setitem(sys.modules, "own_costs", module)


def test_a_function_of_an_architecture_is_a_metric_of_its_name():
    members = np.stack([SPACE.smallest, SPACE.largest])
    found = own_metrics(("own_costs:energy_mj", "own_costs:count"), SPACE, members)
    assert found["energy_mj"].tolist() == [5.0, 10.0]
    assert found["count"].tolist() == [1.0, 2.0]


def experiment_with(*constraints, metrics=("own_costs:energy_mj",), **fields):
    search = Search(constraints=constraints, metrics=metrics, **fields)
    return Experiment(model=MODEL, search=search)


def test_it_may_be_bounded_and_minimised():
    experiment = experiment_with("energy_mj <= 80%", objectives=("loss", "energy_mj"))
    problem = make_problem(experiment, None)
    assert problem.bounds == (Bound("energy_mj", 8.0),)
    members = SPACE.enumerate()
    cheap = CheapMetrics.of(experiment, None)(members)
    assert (problem.feasible(members) == (cheap["energy_mj"] <= 8)).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_package.costs:energy_mj", r"cannot be imported \(No module named"),
        ("own_costs:energy", "the module own_costs has no energy"),
        ("own_costs:number", "is of type int; name a function that takes an arch"),
        ("own_costs:undefined", r"returned nan for \{'layers': .* one finite number"),
        ("own_costs:many", r"returned \[0\.0\] for .* one finite number"),
        ("own_costs:array", r"returned array\(.* one finite number"),
        ("own_costs:missing", r"failed for \{.*KeyError.*no choice 'energy'"),
    ],
)
def test_what_gives_no_number_is_told_with_what_to_do(name, message):
    with pytest.raises(UsageError, match=f"search.metrics: .*{message}"):
        own_metrics((name,), SPACE, SPACE.smallest[None])


def test_a_percentage_of_what_is_not_positive_is_told(monkeypatch):
    monkeypatch.setattr(sys.modules["own_costs"], "energy_mj", lambda _: -1.0)
    message = "search.constraints: 'energy_mj <= 50%' needs the largest subnet's"
    with pytest.raises(UsageError, match=message):
        make_problem(experiment_with("energy_mj <= 50%"), None)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (("energy_mj",), "'energy_mj' is not MODULE:FUNCTION"),
        (("own costs:energy",), "is not MODULE:FUNCTION"),
        (("own_costs:params",), "params is a metric already; rename it"),
        (("own_costs:latency_ms_phone",), "latency_ms_phone is a metric already"),
        (("a:energy", "b:energy"), "metrics share a name"),
        (("own_costs:error",), r"search\.metrics: \['error'\] are scores; rename"),
    ],
)
def test_names_that_will_not_do_are_refused_in_the_recipe(metrics, message):
    with pytest.raises(ValueError, match=message):
        experiment_with(metrics=metrics)


def test_a_bound_on_what_nobody_named_is_refused():
    with pytest.raises(ValueError, match=r"nothing computes the metric 'energy'"):
        experiment_with("energy <= 3")
