"""What the driver of Ray plans: campaigns, the hypervolume's reference."""

import numpy as np

from nas.campaigns import algorithm_of
from nas.experiment import Experiment, Search
from nas.metrics import make_problem
from nas.ray_session import LOCAL_DEFAULTS, with_defaults
from nas.rundir import RunDirectory, append_json_line
from nas.search_driver import (
    REFERENCE_MARGIN,
    add_generation,
    in_order,
    planned,
    reference_point,
)
from search.campaign import Progress
from search.local_search import LocalSearch
from search.nsga2 import Nsga2
from search.random_search import RandomSearch
from supernets.decoder.spec import Decoder
from supernets.gradient_search.specs import GradientSearch

MODEL = Decoder(width=(8, 16), heads=(1, 2), ffn=(8, 16), depth=(1, 2), head_dim=4)


def experiment_with(**search):
    return Experiment(model=MODEL, search=Search(**search), seed=5)


def test_random_search_is_planned_beside_the_algorithm():
    campaigns = planned(experiment_with(evaluations=40))
    assert [(c.name, c.algorithm) for c in campaigns] == [
        ("Nsga2", Nsga2()),
        ("RandomSearch", RandomSearch()),
    ]
    assert {(c.seed, c.stop.evaluations) for c in campaigns} == {(5, 40)}


def test_a_baseline_is_planned_once_and_only_if_it_is_wanted():
    names = [c.name for c in planned(experiment_with(algorithm=RandomSearch()))]
    assert names == ["RandomSearch"]
    assert [c.name for c in planned(experiment_with(baseline=False))] == ["Nsga2"]


def test_every_algorithm_is_planned_from_every_seed():
    search = {"rivals": (LocalSearch(),), "seeds": 2}
    campaigns = planned(experiment_with(**search))
    assert [(c.name, c.seed) for c in campaigns] == [
        ("Nsga2 seed 5", 5),
        ("Nsga2 seed 6", 6),
        ("LocalSearch seed 5", 5),
        ("LocalSearch seed 6", 6),
        ("RandomSearch seed 5", 5),
        ("RandomSearch seed 6", 6),
    ]
    assert {algorithm_of(c.name) for c in campaigns} == {
        "Nsga2",
        "LocalSearch",
        "RandomSearch",
    }
    (first, *_) = planned(experiment_with(seed=9))
    assert (first.name, first.seed) == ("Nsga2", 9)


def test_a_search_by_gradient_has_campaigns_of_its_own_in_the_order_of_algorithms():
    experiment = experiment_with(algorithm=Nsga2(), rivals=(GradientSearch(),), seeds=2)
    assert "GradientSearch" not in {algorithm_of(c.name) for c in planned(experiment)}
    names = ["RandomSearch seed 5", "GradientSearch seed 6", "Nsga2 seed 5"]
    told = dict.fromkeys((*names, "GradientSearch seed 5"), 1)
    assert list(in_order(experiment, told)) == [
        "Nsga2 seed 5",
        "GradientSearch seed 6",
        "GradientSearch seed 5",
        "RandomSearch seed 5",
    ]


def reference(tmp_path, *constraints, objectives=("loss", "params")):
    run = RunDirectory(tmp_path)
    losses = {"smallest": 4.0, "middle": 3.0, "largest": 2.0}
    errors = {"smallest": 0.3, "middle": 0.5, "largest": 0.1}
    scores = {"error": errors}
    append_json_line(run.metrics, {"step": 9, "validation": losses, "scores": scores})
    experiment = experiment_with(objectives=objectives, constraints=constraints)
    point = reference_point(make_problem(experiment, None), run)
    return (point / REFERENCE_MARGIN).tolist()


def test_the_reference_lies_behind_limits_and_the_worst_subnets(tmp_path):
    largest = MODEL.space().largest[None]
    params = float(MODEL.costs(largest, batch=1, example=(128,))["params"][0])
    assert np.allclose(reference(tmp_path), [4.0, params])
    assert np.allclose(reference(tmp_path, "params <= 900"), [4.0, 900.0])
    assert np.allclose(reference(tmp_path, "loss <= 2.5"), [2.5, params])


def test_every_score_has_a_reference(tmp_path):
    point = reference(tmp_path, "loss <= 2.5", objectives=("error", "loss"))
    assert np.allclose(point, [0.5, 2.5])


def test_a_lower_limit_is_no_reference(tmp_path):
    largest = MODEL.space().largest[None]
    params = float(MODEL.costs(largest, batch=1, example=(128,))["params"][0])
    assert np.allclose(reference(tmp_path, "params >= 10%"), [4.0, params])


def test_generations_that_are_told_again_are_kept_once():
    told = [Progress("a", n, 8 * n, 64, {}, 0.1 * n) for n in (1, 2, 3)]
    history = []
    for progress in (*told[:2], *told):
        add_generation(history, progress)
    assert history == told


def test_what_a_person_has_set_for_ray_is_left_alone():
    environment = with_defaults({"RAY_USAGE_STATS_ENABLED": "1"})
    assert environment == LOCAL_DEFAULTS | {"RAY_USAGE_STATS_ENABLED": "1"}
