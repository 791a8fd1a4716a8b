"""Optuna as Tune's searcher, told which trials broke a bound."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import optuna
from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.sample import Domain
from typing_extensions import override

from search.tune_searcher import VIOLATION


def build_optuna(
    params: Mapping[str, Domain],
    metrics: Sequence[str],
    seed: int,
    sampler: Literal["tpe", "nsga2"],
    startup: int,
) -> OptunaSearch:
    """Returns a searcher that minimises metrics and keeps to the bounds.

    Args:
        params: What it chooses.
        metrics: What it minimises.
        seed: Of the sampler.
        sampler: Which one.
        startup: Random trials of the estimator; the population of NSGA-II.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    searcher = _Constrained(
        metric=list(metrics),
        mode=["min"] * len(metrics),
        sampler=_sampler(sampler, seed, startup),
    )
    searcher.set_search_properties(None, None, dict(params))
    return searcher


def _sampler(
    name: Literal["tpe", "nsga2"], seed: int, startup: int
) -> optuna.samplers.BaseSampler:
    if name == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed, population_size=startup)
    with warnings.catch_warnings():
        # Of options that may still change.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=startup,
            # Genes act together, and a batch is suggested before any of it is known.
            multivariate=True,
            constant_liar=True,
        )


class _Constrained(OptunaSearch):
    """Tells Optuna of broken bounds, which Tune's own searcher does not."""

    @override
    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        if result is not None:
            trial = self._ot_trials[trial_id]
            trial.set_constraint(VIOLATION, result[VIOLATION])
        super().on_trial_complete(trial_id, result, error)
