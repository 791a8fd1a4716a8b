"""Adafactor."""

import dataclasses
from typing import TYPE_CHECKING

from typing_extensions import override

from supernets.optimizers.optimizer import Optimizer, require_decays

if TYPE_CHECKING:
    import optax


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adafactor(Optimizer):
    """Scaling by a second moment of which only sums are kept (Shazeer and Stern 2018).

    Of a matrix it keeps a number for each row and each column (Algorithm 4), where
    AdamW keeps two for each entry: the one for large models. The rate is relative to
    the root mean square of each weight (section 8), and there is no momentum.

    Entries that no subnet of a step used stand still. The mean of a row or column does
    where none of its entries was used; else it counts the others as gradients of zero.
    So means are too small for the entries of a subnet, by factors that cancel where
    Eq. 4 divides the product of a row and a column by the mean of the rows.

    Raises:
        ValueError: If a value is out of range.
    """

    learning_rate: float = 1e-2
    """Peak learning rate, as a share of the size of each weight."""
    decay: float = 0.8
    """How fast the decay of the moment nears 1: at step t it is 1 - t^-decay."""
    factored: int = 32
    """Smallest size of the second largest axis of a weight that is factored; of others
    each entry is kept. Heads are an axis of their own, so 128, as in the published
    code, would leave out projections of smaller heads."""
    weight_decay: float = 0.0
    """Decoupled weight decay."""

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        require_decays(decay=self.decay)
        if self.factored < 2:
            raise ValueError(f"factored must be at least 2, got {self.factored}")

    @override
    def scaling(self) -> "optax.GradientTransformation":
        """Returns the scaling by factored moments, clipped and relative to weights."""
        import optax

        return optax.chain(
            optax.scale_by_factored_rms(
                decay_rate=self.decay, min_dim_size_to_factor=self.factored
            ),
            # Of the update of each weight, d = 1 of Algorithm 4.
            optax.clip_by_block_rms(1.0),
            optax.scale_by_param_block_rms(),
        )
