"""What all optimisers have in common: clipping, decay, and a rate that changes."""

import abc
import dataclasses
from typing import TYPE_CHECKING, Literal

from supernets.optimizers.schedules import Cosine, Schedule
from supernets.trained import SCALES, names_in

if TYPE_CHECKING:
    import optax

    from supernets.weights import Params

Decayed = Literal["all", "matrices"]
"""Which weights decay: all, or those of two or more axes that are no positions."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer(abc.ABC):
    """An optimiser: clip the gradient, scale it, decay weights, multiply by the rate.

    Raises:
        ValueError: If a value is out of range.
    """

    learning_rate: float
    """Peak learning rate."""
    schedule: Schedule = Cosine()
    """How the rate goes over the run."""
    weight_decay: float
    """Decoupled weight decay (Loshchilov 2019): its product with the rate is the share
    of a weight that a step takes off."""
    decayed: Decayed = "all"
    """Which weights decay; scales of quantised weights never do. "matrices" leaves out
    weights of a single axis, as scales and biases of norms, other biases and a class
    token, and position embeddings."""
    clip: float = 1.0
    """Largest norm of the whole gradient."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not self.weight_decay >= 0:
            raise ValueError(
                f"weight_decay must not be negative, got {self.weight_decay}"
            )

    def transform(self, steps: int) -> "optax.GradientTransformation":
        """Returns the optimiser of a run of that many steps."""
        # Imported here so that reading a recipe starts no array library.
        import optax

        mask = weights if self.decayed == "all" else matrices
        return optax.chain(
            optax.clip_by_global_norm(self.clip),
            optax.chain(
                self.scaling(),
                optax.add_decayed_weights(self.weight_decay, mask),
                optax.scale_by_learning_rate(
                    self.schedule.rates(self.learning_rate, steps)
                ),
            ),
        )

    @abc.abstractmethod
    def scaling(self) -> "optax.GradientTransformation":
        """Returns what makes a direction of the clipped gradient."""


def require_decays(**decays: float) -> None:
    """Checks that each decay of a moment lies between 0 and 1, exclusive.

    Raises:
        ValueError: If one does not, with its name.
    """
    for name, decay in decays.items():
        if not 0.0 < decay < 1.0:
            raise ValueError(f"{name} must lie between 0 and 1, got {decay}")


def weights(params: "Params") -> "Params":
    """Returns which parameters are weights, in their structure: not `SCALES`.

    A scale is stored as its logarithm: if that decayed, it would come to be 1.
    """
    import jax

    def is_weight(path: tuple[object, ...], _: "jax.Array") -> bool:
        return not SCALES & names_in(path)

    return jax.tree.map_with_path(is_weight, params)


def matrices(params: "Params") -> "Params":
    """Returns which weights are matrices, in the structure of the parameters.

    A weight is one if it has two or more axes, as projections with an axis for heads
    and tables of tokens have, unless a part of its path is ``positions`` or one of
    `SCALES`.
    """
    import jax

    def is_matrix(path: tuple[object, ...], weight: "jax.Array") -> bool:
        return weight.ndim > 1 and not (SCALES | {"positions"}) & names_in(path)

    return jax.tree.map_with_path(is_matrix, params)
