"""How well predictors know what a search evaluated, from half of it.

Every search ends with this test, because a search on predictions is only as good as
they are, and a proxy or a predictor is only worth its cost if it beats counting
parameters. It looks at what a search happened to evaluate, which is no random sample:
most of it lies near the front, where order is hardest to tell.
"""

from collections.abc import Sequence

import numpy as np

from nas.experiment import Experiment
from nas.report.data import PredictorScore, PredictorTest
from search.archive import Record
from search.predictors import (
    Combination,
    Ensemble,
    GaussianProcess,
    Members,
    Predictor,
    Ridge,
)
from search.predictors.features import Columns
from search.predictors.predictor import Values
from search.predictors.scores import kendall_tau, top_regret
from supernets.proxies.names import metric_name

LEAST = 16
"""Architectures below which halves are too small to say anything."""

MOST = 512
"""Architectures that are looked at, at random where there are more."""

COUNTED = ("params", "macs")
"""Costs that are compared as orders too: the more, the better."""

PREDICTORS: dict[str, Predictor] = {
    "Gaussian process": GaussianProcess(),
    "Ridge": Ridge(),
    "Ensemble": Ensemble(),
}


def judge_predictors(
    experiment: Experiment, records: Sequence[Record]
) -> PredictorTest:
    """Fits each predictor to a random half of what was evaluated and asks for the rest.

    With proxies, predictors are tested without and with them, and a learnt sum of
    proxies alone is too. Parameters, multiply-accumulates and each proxy are compared
    as orders that nothing was learnt for.

    Args:
        experiment: Whose first shown score is predicted.
        records: What was evaluated. Those of a search without these proxies are left
            out.
    """
    score = experiment.shown[0]
    proxies = [metric_name(proxy) for proxy in experiment.search.proxies]
    complete = [r for r in records if all(n in r.metrics for n in (score, *proxies))]
    rng = np.random.default_rng(experiment.seed)
    order = rng.permutation(len(complete))[:MOST]
    chosen = [complete[row] for row in order]
    half = len(chosen) // 2
    if len(chosen) < LEAST:
        return PredictorTest(
            score=score, architectures=len(chosen), needed=LEAST, learnt_from=half
        )
    values = _metric(chosen, score)
    genotypes = np.asarray([record.genotype for record in chosen], np.int32)
    genes = Members(experiment.model.space(), genotypes)
    contenders = [("genes", genes, PREDICTORS)]
    if proxies:
        found = np.stack([_metric(chosen, name) for name in proxies], axis=1)
        both = Members(genes.space, genotypes, as_seen(found))
        contenders.append(("genes and proxies", both, PREDICTORS))
        contenders.append(("proxies", both, {"Learnt sum": Combination()}))
    scores = [
        _learnt(name, sees, predictor, members, values, half)
        for sees, members, predictors in contenders
        for name, predictor in predictors.items()
    ]
    scores += [
        _order(name, _metric(chosen[half:], name), values[half:])
        for name in (*COUNTED, *proxies)
    ]
    return PredictorTest(
        score=score,
        architectures=len(chosen),
        needed=LEAST,
        learnt_from=half,
        top=_top(len(chosen) - half),
        values=tuple(values[half:].tolist()),
        scores=tuple(scores),
    )


def as_seen(proxies: Columns) -> Columns:
    """Returns proxies as predictors see them: logarithms of those that are positive."""
    positive = (proxies > 0).all(0)
    return np.where(positive, np.log(np.where(positive, proxies, 1)), proxies)


def _metric(records: Sequence[Record], name: str) -> Values:
    return np.asarray([record.metrics[name] for record in records], float)


def _learnt(
    name: str,
    sees: str,
    predictor: Predictor,
    members: Members,
    values: Values,
    half: int,
) -> PredictorScore:
    """Returns how a predictor does that learns from the first half."""
    rows = np.arange(len(values))
    fitted = predictor.fit(members.take(rows[:half]), values[:half])
    predicted = fitted.predict(members.take(rows[half:])).mean
    true = values[half:]
    return PredictorScore(
        name=name,
        sees=sees,
        kendall_tau=_tau(predicted, true),
        top_regret=top_regret(predicted, true, _top(len(true))),
        mean_error=float(np.abs(predicted - true).mean()),
        predicted=tuple(predicted.tolist()),
    )


def _order(name: str, found: Values, true: Values) -> PredictorScore:
    """Returns how well a metric puts architectures in order, more of it being better.

    Scores are losses and errors, of which less is better.
    """
    return PredictorScore(
        name=name,
        sees="",
        kendall_tau=_tau(-found, true),
        top_regret=top_regret(-found, true, _top(len(true))),
    )


def _tau(predicted: Values, values: Values) -> float | None:
    """Returns Kendall's tau, None where one side is the same for all."""
    tau = kendall_tau(predicted, values)
    return None if np.isnan(tau) else tau


def _top(count: int) -> int:
    """Returns how many are the best tenth."""
    return max(1, count // 10)
