"""A learnt sum of cheap proxies, for its order: a differentiable Kendall tau.

References:
    Zheng et al., "DiffKendall: a novel approach for few-shot learning with
    differentiable Kendall's rank correlation", 2023, https://arxiv.org/abs/2307.15317.
    Dong et al., "ParZC: parametric zero-cost proxies for efficient NAS", 2024,
    https://arxiv.org/abs/2402.02105.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from search.predictors.features import Columns, Members, Standard
from search.predictors.predictor import (
    Prediction,
    Values,
    require_columns,
    require_fittable,
)

Weights = Float[np.ndarray, " columns"]

ITERATIONS = 100
"""Most steps of the optimiser; a few tens are taken."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Combination:
    """Ranks by a weighted sum of the extra columns, and sees no gene.

    The weights maximise :func:`soft_kendall` of the sum and the values (the loss of
    DiffKendall; ParZC puts a network where this has a sum). A line fitted afterwards
    turns the sum into the unit of the values.

    Raises:
        ValueError: If a number is not positive.
    """

    sharpness: float = 2.0
    """How fast a pair counts as decided, for standardised values and columns."""
    decay: float = 1e-2
    """What the squared weights cost: without it they grow where the order is right."""

    def __post_init__(self) -> None:
        for name in ("sharpness", "decay"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")

    def fit(self, members: Members, values: Values) -> "FittedCombination":
        """Learns; see :class:`search.predictors.predictor.Predictor`.

        Raises:
            ValueError: If the members have no columns, too.
        """
        from scipy.optimize import minimize

        require_fittable(members, values)
        if not members.extra.shape[1]:
            raise ValueError(
                "a combination learns from columns and there are none: name cheap "
                "metrics, or give proxies"
            )
        columns, target = Standard.of(members.extra), Standard.of(values)
        inputs, wanted = columns.apply(members.extra), target.apply(values)

        def loss(weights: Weights) -> tuple[float, Weights]:
            tau, slope = soft_kendall(inputs @ weights, wanted, self.sharpness)
            cost = self.decay * (weights @ weights) - tau
            return float(cost), 2 * self.decay * weights - slope @ inputs

        start = inputs.T @ wanted / len(wanted)
        found = minimize(
            loss, start, jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS}
        )
        line, noise = _line(inputs @ found.x, wanted)
        return FittedCombination(columns, target, found.x * line, noise)


@dataclasses.dataclass(frozen=True, eq=False)
class FittedCombination:
    """A weighted sum of columns.

    Attributes:
        columns: Scale of the columns.
        target: Scale of the values.
        weights: Of each column, both being standardised.
        noise: Standard deviation of the values about the sum, in standardised units.
    """

    columns: Standard
    target: Standard
    weights: Weights
    noise: float

    def predict(self, members: Members) -> Prediction:
        """Predicts; the deviation is that of the residuals, the same for all."""
        require_columns(members, len(self.weights))
        inputs: Columns = self.columns.apply(members.extra)
        std = np.full(len(members), self.noise * self.target.deviation)
        return Prediction(self.target.undo(inputs @ self.weights), std)


def soft_kendall(
    predicted: Values, values: Values, sharpness: float
) -> tuple[float, Values]:
    """Returns a smooth Kendall tau, and its gradient by the predictions.

    It is the mean over pairs of ``2 sigmoid(sharpness dp dv) - 1``, where ``dp`` and
    ``dv`` are a pair's differences (DiffKendall, Zheng et al. 2023). A shift of either
    side changes nothing. Without ties it becomes Kendall's tau as the sharpness grows.

    Raises:
        ValueError: If there are fewer than two.
    """
    count = len(values)
    if count < 2:
        raise ValueError(f"an order needs at least two values, got {count}")
    products = (values[:, None] - values) * (sharpness / 2)
    # 2 sigmoid(z) - 1 is tanh(z / 2), which does not overflow.
    agreed = np.tanh((predicted[:, None] - predicted) * products)
    pairs = count * (count - 1)
    slope = ((1 - agreed**2) * products).sum(1) * 2 / pairs
    return float(agreed.sum() / pairs), slope


def _line(order: Values, wanted: Values) -> tuple[float, float]:
    """Returns slope and residual deviation of a line through 0, never falling."""
    scale = order @ order
    slope = max(float(order @ wanted / scale), 0.0) if scale else 0.0
    residuals = wanted - slope * order
    return slope, float(np.sqrt((residuals**2).sum() / max(len(wanted) - 2, 1)))
