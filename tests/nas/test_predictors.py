"""What a report says of predictors: scores on the half that they did not learn from."""

import dataclasses
import json
import math

import numpy as np
import pytest

from nas.experiment import Experiment, Search
from nas.predictors import LEAST, MOST, as_seen, judge_predictors
from search.archive import Record
from supernets.decoder.spec import Decoder

MODEL = Decoder(
    width=(8, 16, 24), heads=(1, 2), ffn=(8, 16, 32), depth=(1, 2, 3), head_dim=4
)
PROXIES = ("grad_norm", "jacobian")


def experiment_with(**search):
    return Experiment(model=MODEL, search=Search(**search), seed=1)


def records_of(count, *, loss=None, without=0):
    """Records whose loss falls with every gene, the first ones without proxies."""
    space = MODEL.space()
    drawn = space.sample(4 * count, np.random.default_rng(0))
    genotypes = np.unique(space.canonical(drawn), axis=0)[:count]
    order = np.random.default_rng(1).permutation(len(genotypes))
    costs = MODEL.costs(genotypes, batch=1, example=(8,))
    size = genotypes.sum(1) / genotypes.sum(1).max()
    records = []
    for row in order.tolist():
        metrics = {"loss": 3.0 - float(size[row]) if loss is None else loss}
        metrics |= {name: float(values[row]) for name, values in costs.items()}
        if len(records) >= without:
            # One that is the score, and one that is noise and not positive.
            metrics["proxy_grad_norm"] = math.exp(10 * float(size[row]))
            metrics["proxy_jacobian"] = math.sin(1e4 * row)
        genotype = tuple(genotypes[row].tolist())
        arch = space.decode(genotypes[row]).to_json()
        records.append(Record(genotype, arch, metrics, "test", len(records), 0.0))
    assert len(records) == count
    return records


@pytest.fixture(scope="module")
def test():
    return judge_predictors(experiment_with(proxies=PROXIES), records_of(60))


def named(test, name, sees=""):
    (found,) = [s for s in test.scores if (s.name, s.sees) == (name, sees)]
    return found


def test_predictors_are_scored_on_the_half_that_they_did_not_see(test):
    assert (test.architectures, test.learnt_from, test.top) == (60, 30, 3)
    assert len(test.values) == 30
    learnt = [score for score in test.scores if score.sees]
    assert [(s.name, s.sees) for s in learnt] == [
        (name, sees)
        for sees in ("genes", "genes and proxies")
        for name in ("Gaussian process", "Ridge", "Ensemble")
    ] + [("Learnt sum", "proxies")]
    for score in learnt:
        assert score.kendall_tau > 0.6
        assert len(score.predicted) == 30
        error = np.abs(np.subtract(score.predicted, test.values)).mean()
        assert score.mean_error == pytest.approx(error)
        assert score.top_regret >= 0


def test_a_proxy_that_is_the_score_orders_perfectly_and_noise_does_not(test):
    perfect = named(test, "proxy_grad_norm")
    assert perfect.kendall_tau == pytest.approx(1.0)
    assert perfect.top_regret == 0.0
    assert perfect.mean_error is None
    assert abs(named(test, "proxy_jacobian").kendall_tau) < 0.5
    assert named(test, "params").kendall_tau > 0.3
    assert named(test, "macs").kendall_tau > 0.3
    # Its logarithm is the score, which a learnt sum finds.
    assert named(test, "Learnt sum", "proxies").mean_error < 0.03


def test_the_best_is_that_of_the_highest_tau_among_those_that_learn(test):
    assert test.best in test.scores
    assert test.best.kendall_tau == max(s.kendall_tau for s in test.scores if s.sees)


def test_without_proxies_predictors_see_genes_and_costs_are_still_compared():
    test = judge_predictors(experiment_with(), records_of(32))
    assert {score.sees for score in test.scores} == {"genes", ""}
    assert [s.name for s in test.scores if not s.sees] == ["params", "macs"]


def test_the_same_archive_gives_the_same_scores_which_are_json(test):
    again = judge_predictors(experiment_with(proxies=PROXIES), records_of(60))
    assert again == test
    text = json.dumps(dataclasses.asdict(test), allow_nan=False)
    assert json.loads(text)["scores"][0]["name"] == "Gaussian process"


@pytest.mark.parametrize("count", [0, 1, LEAST - 1])
def test_too_few_architectures_are_said_and_not_scored(count):
    test = judge_predictors(experiment_with(), records_of(count) if count else [])
    assert (test.architectures, test.needed) == (count, LEAST)
    assert test.scores == ()
    assert test.best is None


def test_records_without_the_proxies_are_left_out():
    records = records_of(40, without=10)
    assert (
        judge_predictors(experiment_with(proxies=PROXIES), records).architectures == 30
    )
    assert judge_predictors(experiment_with(), records).architectures == 40


def test_the_same_score_everywhere_has_no_order():
    test = judge_predictors(experiment_with(), records_of(LEAST, loss=2.0))
    assert all(score.kendall_tau is None for score in test.scores)
    assert test.best is None
    json.dumps(dataclasses.asdict(test), allow_nan=False)


def test_of_very_many_some_are_looked_at(monkeypatch):
    monkeypatch.setattr("nas.predictors.MOST", 20)
    assert MOST > 20
    assert judge_predictors(experiment_with(), records_of(60)).architectures == 20


def test_positive_proxies_are_seen_by_their_logarithm():
    proxies = np.asarray([[1.0, 1.0, 0.0], [10.0, -2.0, 3.0]])
    expected = [[0.0, 1.0, 0.0], [np.log(10.0), -2.0, 3.0]]
    np.testing.assert_array_equal(as_seen(proxies), expected)


def test_a_recipe_names_each_proxy_only_once():
    with pytest.raises(ValueError, match="each only once"):
        Search(proxies=("grad_norm", "grad_norm"))
