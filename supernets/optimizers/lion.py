"""Lion."""

import dataclasses
from typing import TYPE_CHECKING

from typing_extensions import override

from supernets.optimizers.optimizer import Optimizer, require_decays

if TYPE_CHECKING:
    import optax


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lion(Optimizer):
    """The sign of a momentum (Chen 2023, arXiv 2302.06675, Algorithm 2).

    It keeps half of what AdamW does. Every entry moves by the whole rate, so that it
    wants a rate 3 to 10 times smaller than AdamW and a decay as much larger (section 5
    there).

    Raises:
        ValueError: If a value is out of range.
    """

    learning_rate: float = 4e-4
    """Peak learning rate."""
    beta1: float = 0.9
    """Share of the momentum in what the sign is taken of."""
    beta2: float = 0.99
    """Decay of the momentum."""
    weight_decay: float = 0.1
    """Decoupled weight decay."""

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        require_decays(beta1=self.beta1, beta2=self.beta2)

    @override
    def scaling(self) -> "optax.GradientTransformation":
        """Returns the sign of the interpolated momentum."""
        import optax

        return optax.scale_by_lion(b1=self.beta1, b2=self.beta2)
