"""An ensemble of small neural networks on bootstrap samples, trained side by side.

References:
    Breiman, "Bagging predictors", 1996, https://doi.org/10.1007/BF00058655.
    Kingma, Ba, "Adam: a method for stochastic optimization", 2015,
    https://arxiv.org/abs/1412.6980.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from search.predictors.features import Features, Members, Standard
from search.predictors.predictor import (
    Prediction,
    Values,
    require_columns,
    require_fittable,
)

Stacked = Float[np.ndarray, "networks rows _"]
Weights = Sequence[Float[np.ndarray, "networks _ _"]]

DECAYS = 0.9, 0.999
"""Of Adam's running means of the gradient and of its square."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Networks whose disagreement says where they have not learnt.

    Each sees genes as indicators and as ordinal numbers, with rectified hidden layers,
    and learns from its own bootstrap sample by Adam with decoupled weight decay. The
    members that a network did not see tell how noisy the values are. The time does not
    depend on how many members there are.

    Raises:
        ValueError: If a number is out of range.
    """

    networks: int = 8
    """How many are trained, side by side."""
    hidden: tuple[int, ...] = (32, 32)
    """Units of each hidden layer."""
    steps: int = 400
    """Steps of training."""
    batch: int = 32
    """Members that each network learns from in a step."""
    learning_rate: float = 1e-2
    """Of Adam, falling linearly to 0."""
    weight_decay: float = 1e-1
    """Share of the weights lost in a step, times the learning rate."""
    seed: int = 0
    """Of the bootstrap samples, the first weights and the batches."""

    def __post_init__(self) -> None:
        for name, least in (("networks", 2), ("steps", 1), ("batch", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"{name} must be at least {least}, got {getattr(self, name)}"
                )
        if not all(units >= 1 for units in self.hidden):
            raise ValueError(f"hidden layers need units, got {self.hidden}")
        if not (self.learning_rate > 0 and self.weight_decay >= 0):
            raise ValueError(
                "learning_rate must be positive and weight_decay not negative, got "
                f"{self.learning_rate} and {self.weight_decay}"
            )

    def fit(self, members: Members, values: Values) -> "FittedEnsemble":
        """Learns; see :class:`search.predictors.predictor.Predictor`."""
        require_fittable(members, values)
        rng = np.random.default_rng(self.seed)
        columns, target = Standard.of(members.extra), Standard.of(values)
        raw = _features(members, columns)
        scale = Standard.of(raw)
        inputs, wanted = _with_constant(scale.apply(raw)), target.apply(values)
        drawn = rng.integers(0, len(values), (self.networks, len(values)))
        weights = self._train(inputs, wanted, drawn, rng)
        return FittedEnsemble(
            columns=columns,
            scale=scale,
            target=target,
            weights=tuple(weights),
            noise=_noise(_outputs(weights, inputs), wanted, drawn),
        )

    def _train(
        self,
        inputs: Features,
        wanted: Values,
        drawn: Int[np.ndarray, "networks rows"],
        rng: np.random.Generator,
    ) -> Weights:
        """Returns the weights of all networks, of each layer one stack."""
        sizes = (inputs.shape[1] - 1, *self.hidden, 1)
        weights = [
            rng.normal(0, np.sqrt(2 / fan_in), (self.networks, fan_in + 1, units))
            for fan_in, units in itertools.pairwise(sizes)
        ]
        # All networks start from the mean, and leave it where they learn otherwise.
        weights[-1][:] = 0
        means = [np.zeros_like(layer) for layer in weights]
        squares = [np.zeros_like(layer) for layer in weights]
        for step in range(1, self.steps + 1):
            picked = rng.integers(0, drawn.shape[1], (self.networks, self.batch))
            rows = np.take_along_axis(drawn, picked, 1)
            gradients = _gradients(weights, inputs[rows], wanted[rows])
            rate = self.learning_rate * (1 - (step - 1) / self.steps)
            for layer, gradient in enumerate(gradients):
                first, second = DECAYS
                means[layer] += (1 - first) * (gradient - means[layer])
                squares[layer] += (1 - second) * (gradient**2 - squares[layer])
                mean = means[layer] / (1 - first**step)
                square = squares[layer] / (1 - second**step)
                weights[layer] *= 1 - rate * self.weight_decay
                weights[layer] -= rate * mean / (np.sqrt(square) + 1e-8)
        return weights


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class FittedEnsemble:
    """Trained networks.

    Attributes:
        columns: Scale of the extra columns.
        scale: Scale of all features.
        target: Scale of the values.
        weights: Of each layer, those of all networks; the last input is constant.
        noise: Variance of the values about the networks' mean, in standardised units.
    """

    columns: Standard
    scale: Standard
    target: Standard
    weights: Weights
    noise: float

    def predict(self, members: Members) -> Prediction:
        """Predicts the networks' mean; their variance and the noise add up."""
        require_columns(members, len(self.columns.mean))
        features = self.scale.apply(_features(members, self.columns))
        outputs = _outputs(self.weights, _with_constant(features))
        variance = outputs.var(0, ddof=1) + self.noise
        return Prediction(
            self.target.undo(outputs.mean(0)),
            np.sqrt(variance) * self.target.deviation,
        )


def _features(members: Members, columns: Standard) -> Features:
    parts = members.one_hot(), members.ordinal(), columns.apply(members.extra)
    return np.concatenate(parts, axis=1)


def _with_constant(
    inputs: Float[np.ndarray, "*stack features"],
) -> Float[np.ndarray, "*stack inputs"]:
    """Returns the inputs with a last one that is 1, for biases."""
    ones = np.ones((*inputs.shape[:-1], 1))
    return np.concatenate([inputs, ones], axis=-1)


def _activations(weights: Weights, inputs: Stacked) -> list[Stacked]:
    """Returns the input of every layer, and last the output."""
    found = [inputs]
    for layer in weights[:-1]:
        found.append(_with_constant(np.maximum(found[-1] @ layer, 0)))
    return [*found, found[-1] @ weights[-1]]


def _outputs(weights: Weights, inputs: Features) -> Float[np.ndarray, "networks rows"]:
    shared = np.broadcast_to(inputs, (len(weights[0]), *inputs.shape))
    return _activations(weights, shared)[-1][..., 0]


def _gradients(
    weights: Weights, inputs: Stacked, wanted: Float[np.ndarray, "networks rows"]
) -> list[np.ndarray]:
    """Returns the gradients of half the mean squared error of each network."""
    *layers, outputs = _activations(weights, inputs)
    error = (outputs - wanted[..., None]) / wanted.shape[1]
    gradients = []
    for layer, given in zip(reversed(weights), reversed(layers), strict=True):
        gradients.append(given.swapaxes(1, 2) @ error)
        error = (error @ layer[:, :-1].swapaxes(1, 2)) * (given[..., :-1] > 0)
    return gradients[::-1]


def _noise(
    outputs: Float[np.ndarray, "networks rows"],
    wanted: Values,
    drawn: Int[np.ndarray, "networks rows"],
) -> float:
    """Returns the squared error on unseen members that disagreement leaves over."""
    unseen = np.ones(outputs.shape, bool)
    np.put_along_axis(unseen, drawn, False, 1)
    count = unseen.sum(0)
    known = count >= 2
    if not known.any():
        return 0.0
    own, seen = outputs[:, known], unseen[:, known]
    mean = (own * seen).sum(0) / count[known]
    spread = (((own - mean) ** 2) * seen).sum(0) / (count[known] - 1)
    return float(max(((mean - wanted[known]) ** 2 - spread).mean(), 0.0))
