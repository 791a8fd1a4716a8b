"""AdamW."""

import dataclasses
from typing import TYPE_CHECKING

from typing_extensions import override

from supernets.optimizers.optimizer import Optimizer, require_decays

if TYPE_CHECKING:
    import optax


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov 2019, Algorithm 2).

    Raises:
        ValueError: If a value is out of range.
    """

    learning_rate: float = 4e-3
    """Peak learning rate."""
    beta2: float = 0.95
    """Decay of the second moment; short runs want it below the usual 0.999."""
    weight_decay: float = 0.01
    """Decoupled weight decay."""

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        require_decays(beta2=self.beta2)

    @override
    def scaling(self) -> "optax.GradientTransformation":
        """Returns the scaling by bias-corrected moments, the first of decay 0.9."""
        import optax

        return optax.scale_by_adam(b2=self.beta2)
