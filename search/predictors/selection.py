"""The predictor that ranks best on members it has not learnt from.

References:
    Cummings et al., "A hardware-aware framework for accelerating neural architecture
    search across modalities" (LINAS), 2022, https://arxiv.org/abs/2205.10358.
"""

import dataclasses

import numpy as np

from search.predictors.combination import Combination
from search.predictors.ensemble import Ensemble
from search.predictors.features import Members
from search.predictors.gaussian_process import GaussianProcess
from search.predictors.predictor import (
    Fitted,
    Predictor,
    Values,
    require_fittable,
)
from search.predictors.ridge import Ridge
from search.predictors.scores import kendall_tau

Candidate = Ridge | GaussianProcess | Ensemble | Combination


@dataclasses.dataclass(frozen=True, kw_only=True)
class BestOf:
    """Chooses among predictors each time it is fitted, by cross-validation.

    LINAS chooses so by relative error; a search needs the order, so this one goes by
    Kendall's tau of the predictions of all folds together. Of equal ones the first
    wins, and a predictor that gives every member the same value loses.

    Raises:
        ValueError: If there is no candidate, or fewer than two folds.
    """

    candidates: tuple[Candidate, ...] = (GaussianProcess(), Ridge())
    """What is chosen among."""
    folds: int = 5
    """Parts of which each is predicted from the others."""
    seed: int = 0
    """Of the assignment to folds."""

    def __post_init__(self) -> None:
        if not self.candidates:
            raise ValueError("give at least one predictor to choose from")
        if self.folds < 2:
            raise ValueError(f"folds must be at least 2, got {self.folds}")
        if self.seed < 0:
            raise ValueError(f"a seed must not be negative, got {self.seed}")

    def fit(self, members: Members, values: Values) -> Fitted:
        """Returns the best candidate, fitted to everything.

        With fewer than four members there is no fold to learn from, and the first
        candidate is taken.
        """
        return self.best(members, values).fit(members, values)

    def best(self, members: Members, values: Values) -> Predictor:
        """Returns the candidate with the best order over all folds."""
        require_fittable(members, values)
        if len(self.candidates) == 1 or len(values) < 4:
            return self.candidates[0]
        folds = min(self.folds, len(values) // 2)
        shuffled = np.random.default_rng(self.seed).permutation(len(values))
        parts = np.array_split(shuffled, folds)
        taus = [
            _tau(candidate, members, values, parts) for candidate in self.candidates
        ]
        return self.candidates[int(np.argmax(taus))]


def _tau(
    candidate: Predictor, members: Members, values: Values, parts: list[np.ndarray]
) -> float:
    predicted = np.zeros(len(values))
    for part in parts:
        rest = np.setdiff1d(np.arange(len(values)), part)
        fitted = candidate.fit(members.take(rest), values[rest])
        predicted[part] = fitted.predict(members.take(part)).mean
    tau = kendall_tau(predicted, values)
    return -np.inf if np.isnan(tau) else tau
