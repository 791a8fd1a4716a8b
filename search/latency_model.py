"""Predicted latency: a non-negative sum of physical terms, fitted to measurements.

On public measurements of transformers, non-negative least squares on terms such as
"heads x width" in *relative* error, fitted to 30 networks, beats boosted trees and
neural networks fitted to 1600.
"""

import dataclasses

import numpy as np
import scipy.optimize
import scipy.stats
from jaxtyping import Bool, Float

Terms = Float[np.ndarray, "networks terms"]
Milliseconds = Float[np.ndarray, " networks"]


@dataclasses.dataclass(frozen=True)
class LatencyModel:
    """Latency in milliseconds as ``terms @ weights``, all weights non-negative."""

    weights: tuple[float, ...]

    @classmethod
    def fit(cls, terms: Terms, measured_ms: Milliseconds) -> "LatencyModel":
        """Fits the weights by least squares on the relative error.

        Raises:
            ValueError: If there are fewer networks than terms, or a latency is not
                positive.
        """
        if len(terms) < terms.shape[1]:
            raise ValueError(
                f"{len(terms)} measured networks cannot fit {terms.shape[1]} terms"
            )
        if not (measured_ms > 0).all():
            raise ValueError("every measured latency must be positive")
        # Columns differ by orders of magnitude: scaling them keeps the solver exact.
        relative = terms / measured_ms[:, None]
        scale = np.maximum(np.abs(relative).max(0), np.finfo(float).tiny)
        scaled, _ = scipy.optimize.nnls(relative / scale, np.ones(len(terms)))
        return cls(tuple((scaled / scale).tolist()))

    def predict(self, terms: Terms) -> Milliseconds:
        """Returns predicted latencies.

        Raises:
            ValueError: If the terms are not the ones the model was fitted on.
        """
        if terms.shape[1] != len(self.weights):
            raise ValueError(
                f"the latency model has {len(self.weights)} terms, the supernet gives "
                f"{terms.shape[1]}; measure this device for this model"
            )
        # Row by row: a matrix product may round a row by what stands beside it, and a
        # subnet's price must not depend on the subnets it is priced with.
        return (terms * np.asarray(self.weights)).sum(1)


@dataclasses.dataclass(frozen=True)
class PredictionError:
    """How far predictions are from held-out measurements.

    Attributes:
        mape_percent: Mean absolute error relative to the measurement, in percent.
        within_10_percent: Share of networks predicted within 10%, in percent.
        kendall_tau: Rank correlation, 1 for the same order; NaN for equal ranks.
    """

    mape_percent: float
    within_10_percent: float
    kendall_tau: float

    @classmethod
    def of(
        cls, predicted_ms: Milliseconds, measured_ms: Milliseconds
    ) -> "PredictionError":
        """Compares predictions with measurements."""
        relative = np.abs(predicted_ms - measured_ms) / measured_ms
        tau = scipy.stats.kendalltau(predicted_ms, measured_ms).statistic
        return cls(
            100 * float(relative.mean()),
            100 * float((relative <= 0.1).mean()),
            float(tau),
        )


def fit_and_test(
    terms: Terms, measured_ms: Milliseconds, held_out: Bool[np.ndarray, " networks"]
) -> tuple[LatencyModel, PredictionError]:
    """Fits a model to some measured networks, and tests it on the others.

    Args:
        terms: Of all networks.
        measured_ms: Their latencies.
        held_out: Which of them the fit does not see.

    Raises:
        ValueError: If too few networks are left, or a latency is not positive.
    """
    model = LatencyModel.fit(terms[~held_out], measured_ms[~held_out])
    predicted = model.predict(terms[held_out])
    return model, PredictionError.of(predicted, measured_ms[held_out])


def evenly_held_out(count: int, held_out: int) -> Bool[np.ndarray, " networks"]:
    """Returns which of networks in order of size to hold out: never the extremes.

    Args:
        count: How many networks there are.
        held_out: How many to hold out, at most all but the two extremes.
    """
    chosen = np.zeros(count, bool)
    inner = max(min(held_out, count - 2), 0)
    chosen[np.linspace(1, count - 2, inner).round().astype(int)] = True
    return chosen
