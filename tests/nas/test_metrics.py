"""Metrics of subnets: cheap ones, percentages, and the problem they make."""

import numpy as np
import pytest

from nas.errors import RunError
from nas.experiment import Experiment, Latency, Search
from nas.metric_names import COSTS
from nas.metrics import CheapMetrics, final_validation, make_problem
from nas.profile import LatencyProfile, Measurement
from nas.rundir import RunDirectory, append_json_line
from search.constraints import Bound
from search.latency_model import LatencyModel, PredictionError
from supernets.decoder.spec import Decoder

MODEL = Decoder(width=(8, 16), heads=(1, 2), ffn=(8, 16), depth=(1, 2), head_dim=4)
SPACE = MODEL.space()
TERMS = MODEL.latency_terms(SPACE.largest[None]).shape[1]


def experiment_with(*constraints, objectives=("loss", "latency_ms")):
    search = Search(constraints=constraints, objectives=objectives)
    return Experiment(model=MODEL, latency=Latency(batch=2), search=search)


def profile_with(*measurements):
    """Predicts a millisecond for each layer that runs, and one more."""
    return LatencyProfile(
        device="a processor",
        fingerprint=SPACE.fingerprint,
        batch=2,
        example=(128,),
        measurements=measurements,
        model=LatencyModel((1.0, 0.0, 1.0, *[0.0] * (TERMS - 3))),
        error=PredictionError(1.0, 100.0, 1.0),
    )


def measured(genotype, latency_ms, role="fit"):
    return Measurement(tuple(genotype.tolist()), role, latency_ms, (latency_ms,))


def test_cheap_metrics_are_exact_costs_of_the_deployed_input():
    genotypes = SPACE.enumerate()
    metrics = CheapMetrics.of(experiment_with(), None)(genotypes)
    expected = MODEL.costs(genotypes, batch=2, example=(128,))
    assert metrics.keys() == expected.keys() == set(COSTS)
    for name, values in expected.items():
        np.testing.assert_array_equal(metrics[name], values)


def test_latency_is_predicted_where_there_is_a_profile():
    genotypes = SPACE.enumerate()
    metrics = CheapMetrics.of(experiment_with(), profile_with())(genotypes)
    layers = SPACE.active_layers(genotypes).sum(1)
    np.testing.assert_array_equal(metrics["latency_ms"], 1.0 + layers)


def test_percentages_are_of_the_largest_subnet():
    cheap = CheapMetrics.of(experiment_with(), None)
    params = float(cheap(SPACE.largest[None])["params"][0])
    assert cheap.resolve((Bound.parse("params <= 50%"), Bound.parse("macs <= 7"))) == (
        Bound("params", params / 2),
        Bound("macs", 7.0),
    )


def test_a_percentage_of_latency_is_of_the_measured_one():
    bound = Bound.parse("latency_ms <= 50%")
    experiment = experiment_with()
    # Two layers are predicted to take 3 ms.
    predicted = CheapMetrics.of(experiment, profile_with())
    assert predicted.resolve((bound,)) == (Bound("latency_ms", 1.5),)
    largest = measured(SPACE.largest, 4.0)
    again = measured(SPACE.largest, 9.0, role="front")
    for profile in (profile_with(largest), profile_with(largest, again)):
        known = CheapMetrics.of(experiment, profile)
        assert known.resolve((bound,)) == (Bound("latency_ms", 2.0),)


def test_further_devices_have_metrics_and_limits_of_their_own():
    experiment = experiment_with(
        "latency_ms_phone <= 50%", objectives=("loss", "latency_ms_phone")
    )
    phone = profile_with(measured(SPACE.largest, 8.0))
    problem = make_problem(experiment, profile_with(), {"phone": phone})
    assert problem.bounds == (Bound("latency_ms_phone", 4.0),)
    cheap = problem.cheap(SPACE.enumerate())
    np.testing.assert_array_equal(cheap["latency_ms_phone"], cheap["latency_ms"])
    # What was measured counts, on the device that it was measured on.
    metrics = CheapMetrics.of(experiment, profile_with(), {"phone": phone})
    largest = SPACE.largest[None]
    latencies = metrics.measured_or(largest, metrics(largest))
    assert latencies.keys() == {"latency_ms", "latency_ms_phone"}
    assert latencies["latency_ms"].tolist() == [3.0]
    assert latencies["latency_ms_phone"].tolist() == [8.0]


def test_without_a_profile_the_problem_leaves_latency_out():
    experiment = experiment_with(
        "latency_ms <= 60%", "latency_ms <= 5", "params <= 50%", "loss <= 3"
    )
    problem = make_problem(experiment, None)
    assert {bound.metric for bound in problem.bounds} == {"params", "loss"}
    assert problem.objectives == ("loss", "latency_ms")
    assert "latency_ms" not in problem.cheap(SPACE.largest[None])
    # Feasibility can still be told, of what is known.
    found = problem.require_feasible(np.random.default_rng(0))
    assert problem.feasible(found[None])[0]


def test_with_a_profile_the_problem_has_every_bound():
    experiment = experiment_with("latency_ms <= 60%", "loss <= 3", "macs >= 10%")
    problem = make_problem(experiment, profile_with())
    assert {(b.metric, b.at_least) for b in problem.bounds} == {
        ("latency_ms", False),
        ("loss", False),
        ("macs", True),
    }
    assert not any(bound.percent for bound in problem.bounds)
    problem.check({*problem.cheap(SPACE.largest[None]), "loss"})


def test_bounds_on_scores_are_left_to_the_evaluation():
    problem = make_problem(experiment_with("error <= 0.3", "loss <= 3"), None)
    assert {bound.metric for bound in problem.bounds} == {"error", "loss"}
    assert problem.feasible(SPACE.enumerate()).all()


def test_final_validation_is_the_last_that_was_logged(tmp_path):
    run = RunDirectory(tmp_path)
    first = {"smallest": 4.0, "middle": 3.0, "largest": 2.0}
    last = {"smallest": 3.5, "other": 3.0, "middle": 2.5, "largest": 1.5}
    errors = {"smallest": 0.3, "other": 0.2, "middle": 0.2, "largest": 0.1}
    append_json_line(run.metrics, {"step": 0, "validation": first})
    assert final_validation(run) == {"loss": first}
    line = {"step": 5, "validation": last, "scores": {"error": errors}}
    append_json_line(run.metrics, line)
    append_json_line(run.metrics, {"step": 6, "training": {"largest": 9.0}})
    del last["other"], errors["other"]
    assert final_validation(run) == {"loss": last, "error": errors}


def test_a_run_without_validation_is_told(tmp_path):
    run = RunDirectory(tmp_path)
    with pytest.raises(RunError, match="holds no validation; train again in a new"):
        final_validation(run)
    append_json_line(run.metrics, {"step": 6, "training": {"largest": 9.0}})
    with pytest.raises(RunError, match="holds no validation"):
        final_validation(run)
