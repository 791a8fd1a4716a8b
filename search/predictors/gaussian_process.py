"""A Gaussian process over genotypes: steps along choices, and effects of single genes.

References:
    Rasmussen, Williams, "Gaussian processes for machine learning", 2006,
    http://gaussianprocess.org/gpml, sections 2.2, 4.2 and 5.4.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from search.predictors.features import Members, Standard
from search.predictors.predictor import (
    Prediction,
    Values,
    require_columns,
    require_fittable,
)

Matrix = Float[np.ndarray, "first second"]
Group = Float[np.ndarray, "population _"]
Parameters = Float[np.ndarray, " _"]

PRIOR_DEVIATION = 2.0
"""Of the logarithm of each parameter of the kernel about where it starts."""

BOUNDS = (-10.0, 5.0)
"""Of those logarithms; values are standardised, so that noise stays above 5e-5."""

START_EFFECTS, START_STEPS, START_NOISE = np.log([0.5, 0.5, 0.05])


@dataclasses.dataclass(frozen=True, kw_only=True)
class GaussianProcess:
    """Bayesian regression with a kernel of two parts, and a deviation one can use.

    The first part is an inner product of indicators of gene values (what ridge
    regression has), with a variance for each choice. The second is a Matern 5/2 of
    distances between ordinal genes, with a length for each choice, all layers alike, so
    that there are few parameters however deep the network is. Depth and each extra
    column count as choices. Parameters maximise the marginal likelihood (Rasmussen and
    Williams 2006, equation 5.8) with a wide normal prior on their logarithms.

    Raises:
        ValueError: If a number is too small.
    """

    rows: int = 128
    """Most members that kernel parameters are fitted on, spread over all of them."""
    iterations: int = 20
    """Most steps of that fit; with the rows it bounds the time."""

    def __post_init__(self) -> None:
        if self.rows < 2:
            raise ValueError(f"rows must be at least 2, got {self.rows}")
        if self.iterations < 0:
            raise ValueError(f"iterations must not be negative, got {self.iterations}")

    def fit(self, members: Members, values: Values) -> "FittedGaussianProcess":
        """Learns; see :class:`search.predictors.predictor.Predictor`."""
        require_fittable(members, values)
        columns, target = Standard.of(members.extra), Standard.of(values)
        wanted = target.apply(values)
        steps = -(-len(values) // self.rows)
        points = _Points.of(members, columns)
        part = _Points.of(members.take(np.arange(0, len(values), steps)), columns)
        parameters = self._parameters(part, wanted[::steps])
        covariance = points.covariances(points, parameters)
        covariance[np.diag_indices(len(values))] += np.exp(parameters[-1])
        inverse = np.linalg.inv(np.linalg.cholesky(covariance))
        return FittedGaussianProcess(
            columns=columns,
            target=target,
            points=points,
            parameters=parameters,
            inverse=inverse,
            weights=inverse.T @ (inverse @ wanted),
        )

    def _parameters(self, points: "_Points", wanted: Values) -> Parameters:
        """Returns the logarithms of the kernel's parameters."""
        from scipy.optimize import minimize

        matches = [group @ group.T for group in points.indicators]
        squares = [_squared_distances(group, group) for group in points.places]
        start = np.concatenate(
            [
                np.full(len(matches), START_EFFECTS - np.log(len(matches))),
                np.zeros(len(squares)),
                [START_STEPS, START_NOISE],
            ]
        )

        def loss(parameters: Parameters) -> tuple[float, Parameters]:
            value, slope = evidence(matches, squares, parameters, wanted)
            away = (parameters - start) / PRIOR_DEVIATION
            cost = float((away**2).sum()) / 2 - value
            return cost, away / PRIOR_DEVIATION - slope

        found = minimize(
            loss,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=[BOUNDS] * len(start),
            options={"maxiter": self.iterations, "maxfun": 2 * self.iterations},
        )
        return found.x if self.iterations else start


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class FittedGaussianProcess:
    """What a Gaussian process learnt, in standardised units.

    Attributes:
        columns: Scale of the extra columns.
        target: Scale of the values.
        points: The members it learnt from.
        parameters: Logarithms of the kernel's parameters.
        inverse: Inverse of the Cholesky factor of the members' covariances.
        weights: Covariances inverted, times the values.
    """

    columns: Standard
    target: Standard
    points: "_Points"
    parameters: Parameters
    inverse: Float[np.ndarray, "rows rows"]
    weights: Float[np.ndarray, " rows"]

    def predict(self, members: Members) -> Prediction:
        """Predicts (Rasmussen and Williams 2006, equations 2.25 and 2.26)."""
        require_columns(members, len(self.columns.mean))
        points = _Points.of(members, self.columns)
        covariances = points.covariances(self.points, self.parameters)
        explained = ((covariances @ self.inverse.T) ** 2).sum(1)
        noise = float(np.exp(self.parameters[-1]))
        effects, _, scale = _split(self.parameters, len(points.indicators))
        variance = np.maximum(effects.sum() + scale - explained, 0) + noise
        return Prediction(
            self.target.undo(covariances @ self.weights),
            np.sqrt(variance) * self.target.deviation,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _Points:
    """Members as the kernel sees them, a matrix for each choice.

    Attributes:
        indicators: Of gene values, scaled so that a member is 1 from the origin.
        places: Ordinal genes, then one matrix for each extra column.
    """

    indicators: tuple[Group, ...]
    places: tuple[Group, ...]

    @classmethod
    def of(cls, members: Members, columns: Standard) -> "_Points":
        space = members.space
        ordinal, categories = members.ordinal(), members.categories()
        genes = {name: np.arange(s.start, s.stop) for name, s in space.slices.items()}
        places = [ordinal[:, where] for where in genes.values()]
        if space.depth is not None:
            genes["depth"] = np.arange(space.depth_genes)
            flags = np.arange(space.genes, ordinal.shape[1])
            places.append(ordinal[:, np.append(genes["depth"], flags)])
        indicators = [
            _indicators(categories[:, where], int(space.cardinalities[where].max()) + 1)
            for where in genes.values()
        ]
        extra = columns.apply(members.extra)
        places += [extra[:, i : i + 1] for i in range(extra.shape[1])]
        return cls(tuple(indicators), tuple(places))

    def covariances(self, others: "_Points", parameters: Parameters) -> Matrix:
        """Returns what each member shares with each of the others, without noise.

        The parameters are logarithms: the variance of the effects of each choice, the
        inverse squared length of each choice and column, the variance of the second
        part and, last, that of the noise.
        """
        effects, lengths, scale = _split(parameters, len(self.indicators))
        linear = [_joined(p.indicators, effects) for p in (self, others)]
        places = [_joined(p.places, lengths) for p in (self, others)]
        return linear[0] @ linear[1].T + scale * _matern(_squared_distances(*places))


def evidence(
    matches: Sequence[Matrix],
    squares: Sequence[Matrix],
    parameters: Parameters,
    wanted: Values,
) -> tuple[float, Parameters]:
    """Returns the log marginal likelihood and its gradient (equations 5.8 and 5.9).

    Args:
        matches: Share of equal genes of each pair of members, for each choice.
        squares: Squared ordinal distances, for each choice and column.
        parameters: See :class:`GaussianProcess`.
        wanted: Values of the members, standardised.
    """
    effects, lengths, scale = _split(parameters, len(matches))
    noise = float(np.exp(parameters[-1]))
    square = np.tensordot(lengths, squares, 1)
    steps = scale * _matern(square)
    covariance = steps + np.tensordot(effects, matches, 1)
    covariance[np.diag_indices(len(wanted))] += noise
    factor = np.linalg.cholesky(covariance)
    half = np.linalg.inv(factor)
    inverse = half.T @ half
    weights = inverse @ wanted
    value = -wanted @ weights / 2 - np.log(np.diag(factor)).sum()
    slope = (np.outer(weights, weights) - inverse) / 2
    # Of the Matern by the squared distance, which has no pole at 0.
    root = np.sqrt(5 * square)
    bend = slope * (-5 / 6) * scale * (1 + root) * np.exp(-root)
    gradient = [
        effects * [np.vdot(slope, match) for match in matches],
        lengths * [np.vdot(bend, square) for square in squares],
        [np.vdot(slope, steps), noise * np.trace(slope)],
    ]
    return float(value), np.concatenate(gradient)


def _split(
    parameters: Parameters, choices: int
) -> tuple[Parameters, Parameters, float]:
    """Returns variances of effects, inverse squared lengths, and the last variance."""
    exponentials = np.exp(parameters)
    return exponentials[:choices], exponentials[choices:-2], float(exponentials[-2])


def _joined(parts: Sequence[Group], weights: Parameters) -> Group:
    """Returns features whose inner products are the weighted sum of those of parts."""
    scaled = [np.sqrt(w) * part for w, part in zip(weights, parts, strict=True)]
    return np.concatenate(scaled, axis=1)


def _matern(squares: Matrix) -> Matrix:
    """Returns the Matern 5/2 correlation (Rasmussen and Williams 2006, 4.17)."""
    root = np.sqrt(5 * squares)
    return (1 + root + root**2 / 3) * np.exp(-root)


def _indicators(categories: np.ndarray, values: int) -> Group:
    """Returns rows whose inner product is the share of equal categories."""
    encoded = categories[:, :, None] == np.arange(values)
    return encoded.reshape(len(categories), -1) / np.sqrt(categories.shape[1])


def _squared_distances(
    first: Float[np.ndarray, "first features"],
    second: Float[np.ndarray, "second features"],
) -> Matrix:
    norms = (first**2).sum(1)[:, None] + (second**2).sum(1)
    return np.maximum(norms - 2 * first @ second.T, 0)
