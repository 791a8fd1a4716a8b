"""The gradient benchmark: contests in equal time on a supernet that is hardly one."""

import numpy as np
import pytest
from flax import nnx

from experiments.benchmarks.gradient import (
    ALONE,
    GRADIENT,
    POINTS,
    RIVALS,
    Contest,
    Trace,
    ahead,
    leaders,
    readme_rows,
)
from experiments.benchmarks.gradient_figure import gradient_figure
from nas import Decoder, Experiment, GradientSearch, Search, Softmax, StdlibText
from nas.metrics import CheapMetrics, make_problem
from nas.report import drawing
from supernets.weights import flat_weights, host_copy
from tests.kernels.comparison import quick_options

MODEL = Decoder(width=(8,), heads=(1, 2), ffn=(8, 16), depth=(1, 2), head_dim=4)
EXPERIMENT = Experiment(
    model=MODEL,
    data=StdlibText(tokens=8),
    search=Search(
        objectives=("loss", "params"), constraints=("params <= 90%",), examples=4
    ),
    execution="masked",
)
SPEC = GradientSearch(
    steps=4, batch=2, sweep=2, sampling=Softmax(), decode_every=2, refine=4
)


@pytest.fixture(scope="module")
def contest():
    weights = host_copy(flat_weights(MODEL.build(rngs=nnx.Rngs(0))))
    problem = make_problem(EXPERIMENT, None)
    cheap = CheapMetrics.of(EXPERIMENT, None)
    limit = next(bound.limit for bound in problem.bounds)
    reference = np.asarray([20.0, limit])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("supernets.evaluation.QUICK_TO_COMPILE", quick_options())
        yield Contest(EXPERIMENT, problem, cheap, reference, weights, SPEC, 16)


@pytest.fixture(scope="module")
def traces(contest):
    return contest.traces(range(1))


@pytest.mark.slow
def test_rivals_search_for_as_long_as_the_gradient_did(traces):
    (gradient,) = traces[GRADIENT]
    assert 1 < len(gradient.archive) <= 16
    assert gradient.looked == sorted(gradient.looked)
    (alone,) = traces[ALONE]
    assert 1 <= len(alone.archive) < len(gradient.archive)
    assert all(record in gradient.archive for record in alone.archive.records)
    assert alone.seconds == sorted(alone.seconds)
    assert alone.seconds[-1] < gradient.seconds[-1]
    for name in RIVALS:
        (rival,) = traces[name]
        # It ends with the first generation after that time, or with the space.
        assert len(rival.archive) >= 1
        assert rival.seconds == sorted(rival.seconds)


@pytest.mark.slow
def test_the_summary_is_told_and_drawn(contest, traces):
    results = {"run": "tiny", **contest.summary(traces)}
    assert len(results["seconds"]) == POINTS
    for found in results["algorithms"].values():
        volumes = found["hypervolume_percent"]
        assert volumes["mean"] == sorted(volumes["mean"])
        assert 0 < volumes["last"][0] <= 100.0
        assert found["front"]
    _, first, second, _ = readme_rows(results)
    assert all(name in first for name in (GRADIENT, ALONE, *RIVALS))
    assert f"Random search {ahead(results, 'Random search')}" in second
    assert drawing.to_png(gradient_figure(results))[:4] == b"\x89PNG"


def test_a_trace_knows_what_was_looked_at_when():
    trace = Trace(seconds=[1.0, 2.0, 4.0], looked=[3, 5, 6])
    assert [trace.at(at) for at in (0.5, 1.0, 3.9, np.inf)] == [0, 3, 5, 6]


def test_who_leads_is_told_with_the_second_until_which():
    curves = {"a": [3.0, 4.0, 4.0], "b": [1.0, 2.0, 5.0], "c": [0.0, 0.0, 0.0]}
    results = {
        "seconds": [1.0, 2.0, 3.0],
        "algorithms": {
            name: {"hypervolume_percent": {"mean": mean}}
            for name, mean in curves.items()
        },
    }
    assert leaders(results) == [("a", 2.0), ("b", 3.0)]
