"""Stochastic gradient descent."""

import dataclasses
from typing import TYPE_CHECKING

from typing_extensions import override

from supernets.optimizers.optimizer import Optimizer

if TYPE_CHECKING:
    import optax


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sgd(Optimizer):
    """Gradient descent with momentum (Sutskever 2013, Eq. 1 and 3).

    Its decay is decoupled too, and so is not part of the momentum (SGDW, Loshchilov
    2019, Algorithm 1).

    Raises:
        ValueError: If a value is out of range.
    """

    learning_rate: float = 0.1
    """Peak learning rate."""
    momentum: float = 0.9
    """Decay of the sum of past gradients, from 0 (nothing is kept) to below 1."""
    nesterov: bool = False
    """Whether the momentum looks one step ahead."""
    weight_decay: float = 5e-4
    """Decoupled weight decay."""

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.momentum < 1.0:
            raise ValueError(
                f"momentum must lie in 0..1 and below 1, got {self.momentum}"
            )
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")

    @override
    def scaling(self) -> "optax.GradientTransformation":
        """Returns the sum of past gradients, or the gradient."""
        import optax

        if not self.momentum:
            return optax.identity()
        return optax.trace(self.momentum, nesterov=self.nesterov)
