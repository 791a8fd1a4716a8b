"""What an evaluator computes: scores, and proxies where a recipe names some."""

import dataclasses

import numpy as np
import pytest
from flax import nnx

from nas import Decoder, Experiment, Search, StdlibText, evaluation
from nas.evaluation import MakeEvaluate
from supernets.proxies import population
from supernets.proxies.measures import FLOOR
from supernets.weights import flat_weights, host_copy
from tests.kernels.comparison import quick_options

SPEC = Decoder(width=(8,), heads=(1, 2), ffn=(8, 16), depth=(1,), head_dim=4)
EXPERIMENT = Experiment(
    model=SPEC,
    data=StdlibText(tokens=8),
    search=Search(examples=6, proxies=("jacobian", "grad_norm")),
    execution="masked",
)


@pytest.fixture(scope="module")
def weights():
    return host_copy(flat_weights(SPEC.build(rngs=nnx.Rngs(0))))


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(population, "QUICK_TO_COMPILE", quick_options())
    monkeypatch.setattr("supernets.evaluation.QUICK_TO_COMPILE", quick_options())


@pytest.mark.slow
def test_proxies_are_metrics_beside_the_scores(weights, monkeypatch):
    monkeypatch.setattr(evaluation, "PROXY_EXAMPLES", 1)
    genotypes = SPEC.space().enumerate()[:3]
    evaluate = MakeEvaluate(EXPERIMENT)(weights)
    found = evaluate(genotypes)
    assert found.keys() == {"loss", "error", "proxy_jacobian", "proxy_grad_norm"}
    assert all(values.shape == (3,) for values in found.values())
    assert all(np.isfinite(values).all() for values in found.values())
    # One example is like itself; more would not all be orthogonal.
    np.testing.assert_allclose(found["proxy_jacobian"], np.log1p(FLOOR), atol=1e-6)
    again = evaluate(genotypes[::-1])
    for name, values in found.items():
        np.testing.assert_array_equal(again[name][::-1], values)


def test_without_proxies_there_are_scores_alone(weights):
    search = dataclasses.replace(EXPERIMENT.search, proxies=())
    experiment = dataclasses.replace(EXPERIMENT, search=search)
    found = MakeEvaluate(experiment)(weights)(SPEC.space().enumerate()[:1])
    assert found.keys() == {"loss", "error"}
