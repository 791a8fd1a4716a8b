"""How good predictions are on architectures that were not learnt from.

Values are losses or errors: smaller is better. All scores look at predictions and true
values of the same architectures.

References:
    Kendall, "The treatment of ties in ranking problems", 1945,
    https://doi.org/10.1093/biomet/33.3.239.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from search.predictors.predictor import Prediction, Values


def kendall_tau(predicted: Values, values: Values) -> float:
    """Returns tau-b: the share of pairs in the right order less those in the wrong one.

    A pair that is tied in one of the two counts for neither, and the total is the
    geometric mean of the pairs that are not tied in each (Kendall 1945). NaN if either
    is constant.
    """
    first = np.sign(predicted[:, None] - predicted)
    second = np.sign(values[:, None] - values)
    untied = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / untied) if untied else float("nan")


def spearman(predicted: Values, values: Values) -> float:
    """Returns the correlation of ranks, tied ones averaged; NaN if one is constant."""
    first, second = (_ranks(v) - (len(v) - 1) / 2 for v in (predicted, values))
    scale = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / scale) if scale else float("nan")


def top_regret(predicted: Values, values: Values, top: int) -> float:
    """Returns what is lost by evaluating only the predicted best.

    It is the smallest true value among the ``top`` with the smallest predictions, the
    first of equal ones, less the smallest of all: 0 is perfect.

    Raises:
        ValueError: If ``top`` is not between 1 and the number of values.
    """
    if not 1 <= top <= len(values):
        raise ValueError(f"top must be in 1..{len(values)}, got {top}")
    found = values[np.argsort(predicted, kind="stable")[:top]]
    return float(found.min() - values.min())


def mape(predicted: Values, values: Values) -> float:
    """Returns the mean absolute error relative to the true value, in percent.

    Raises:
        ValueError: If a true value is 0.
    """
    if not values.all():
        raise ValueError("a relative error needs values that are not 0")
    return float(100 * np.abs((predicted - values) / values).mean())


def within(prediction: Prediction, values: Values, deviations: float) -> float:
    """Returns the share of values so near to the mean, in predicted deviations.

    Of a calibrated predictor with normal errors it is 68% for 1 and 95% for 2.
    """
    far = np.abs(prediction.mean - values)
    return float((far <= deviations * prediction.std).mean())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scores:
    """All scores of one set of predictions.

    Attributes:
        kendall_tau: See :func:`kendall_tau`.
        spearman: See :func:`spearman`.
        top_regret: See :func:`top_regret`, in the unit of the values.
        mape_percent: See :func:`mape`.
        within_1_std: Share of values within one predicted deviation.
        within_2_std: Share of values within two.
    """

    kendall_tau: float
    spearman: float
    top_regret: float
    mape_percent: float
    within_1_std: float
    within_2_std: float

    @classmethod
    def of(cls, prediction: Prediction, values: Values, top: int) -> "Scores":
        """Compares predictions with true values.

        Raises:
            ValueError: If a value is 0, or there are fewer than ``top``.
        """
        return cls(
            kendall_tau=kendall_tau(prediction.mean, values),
            spearman=spearman(prediction.mean, values),
            top_regret=top_regret(prediction.mean, values, top),
            mape_percent=mape(prediction.mean, values),
            within_1_std=within(prediction, values, 1.0),
            within_2_std=within(prediction, values, 2.0),
        )


def _ranks(values: Values) -> Float[np.ndarray, " population"]:
    """Returns ranks from 0; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[inverse]
