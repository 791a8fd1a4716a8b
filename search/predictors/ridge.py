"""Ridge regression on indicators of genes, with its strength chosen in closed form.

References:
    Golub, Heath, Wahba, "Generalized cross-validation as a method for choosing a good
    ridge parameter", 1979, https://doi.org/10.1080/00401706.1979.10489751.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from search.predictors.features import Features, Members, Standard
from search.predictors.predictor import (
    Prediction,
    Values,
    require_columns,
    require_fittable,
)

STRENGTHS = np.geomspace(1e-2, 1e4, 49)
"""Regularisation strengths that are tried, for indicators of 0 and 1."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ridge:
    """A sum of effects of single genes, shrunk: fast, and hard to beat with few data.

    The strength of the shrinkage is the one with the least leave-one-out error, which
    the singular values give for all strengths at once (Golub et al. 1979, equation 1.3,
    without the averaging of leverages that makes it *generalised*).

    Raises:
        ValueError: If the strength is not positive.
    """

    strength: float | None = None
    """Of the shrinkage; by default leave-one-out error chooses."""

    def __post_init__(self) -> None:
        if self.strength is not None and not self.strength > 0:
            raise ValueError(f"strength must be positive, got {self.strength}")

    def fit(self, members: Members, values: Values) -> "FittedRidge":
        """Learns; see :class:`search.predictors.predictor.Predictor`."""
        require_fittable(members, values)
        columns, target = Standard.of(members.extra), Standard.of(values)
        features, wanted = _features(members, columns), target.apply(values)
        centre = features.mean(0)
        left, singular, right = np.linalg.svd(features - centre, full_matrices=False)
        strengths = STRENGTHS if self.strength is None else np.array([self.strength])
        kept = singular**2 / (singular**2 + strengths[:, None])
        residuals = wanted - (kept * (left.T @ wanted)) @ left.T
        # One row of the hat matrix's diagonal for each strength; 1/n is the intercept.
        leverages = 1 / len(values) + kept @ (left**2).T
        freedom = np.maximum(1 - leverages, np.finfo(float).eps)
        best = int(((residuals / freedom) ** 2).mean(1).argmin())
        shrunk = singular / (singular**2 + strengths[best])
        return FittedRidge(
            columns=columns,
            target=target,
            centre=centre,
            weights=right.T @ (shrunk * (left.T @ wanted)),
            basis=right,
            singular=singular,
            strength=float(strengths[best]),
            noise=float((residuals[best] ** 2 / freedom[best]).mean()),
            rows=len(values),
        )


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class FittedRidge:
    """What ridge regression learnt, in standardised units.

    Attributes:
        columns: Scale of the extra columns.
        target: Scale of the values.
        centre: Mean features.
        weights: Of the features.
        basis: Right singular vectors of the features.
        singular: Their singular values.
        strength: The strength that was used.
        noise: Variance of the values about the fit.
        rows: How many members it learnt from.
    """

    columns: Standard
    target: Standard
    centre: Float[np.ndarray, " features"]
    weights: Float[np.ndarray, " features"]
    basis: Float[np.ndarray, "rank features"]
    singular: Float[np.ndarray, " rank"]
    strength: float
    noise: float
    rows: int

    def predict(self, members: Members) -> Prediction:
        """Predicts; the deviation grows away from what was learnt.

        It is that of Bayesian linear regression: ``noise (1 + 1/n + x (X'X + s)^-1 x)``
        is its square, and the noise comes from the residuals and their leverages.
        """
        require_columns(members, len(self.columns.mean))
        away = _features(members, self.columns) - self.centre
        inside = away @ self.basis.T
        outside = np.maximum((away**2).sum(1) - (inside**2).sum(1), 0)
        spread = (inside**2 / (self.singular**2 + self.strength)).sum(1)
        spread = spread + outside / self.strength
        variance = self.noise * (1 + 1 / self.rows + spread)
        return Prediction(
            self.target.undo(away @ self.weights),
            np.sqrt(variance) * self.target.deviation,
        )


def _features(members: Members, columns: Standard) -> Features:
    return np.concatenate([members.one_hot(), columns.apply(members.extra)], axis=1)
