"""Optimisers as plain values."""

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optax


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdamW:
    """AdamW with global-norm clipping, linear warm-up and cosine decay to a tenth.

    Raises:
        ValueError: If a value is out of range.
    """

    learning_rate: float = 4e-3
    """Peak learning rate."""
    warmup: float = 0.05
    """Share of the steps during which the rate rises, 0 to 1."""
    beta2: float = 0.95
    """Decay of the second moment; short runs want it below the usual 0.999."""
    weight_decay: float = 0.01
    """Decoupled weight decay."""
    clip: float = 1.0
    """Largest norm of the whole gradient."""

    def __post_init__(self) -> None:
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive: {self.learning_rate}")
        if not 0.0 <= self.warmup <= 1.0:
            raise ValueError(f"warmup must lie in 0..1, got {self.warmup}")
        if not 0.0 < self.beta2 < 1.0:
            raise ValueError(f"beta2 must lie between 0 and 1, got {self.beta2}")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay must not be negative: {self.weight_decay}")
        if not self.clip > 0:
            raise ValueError(f"clip must be positive, got {self.clip}")

    def transform(self, steps: int) -> "optax.GradientTransformation":
        """Returns the optimiser of a run of that many steps."""
        # Imported here so that reading a recipe starts no array library.
        import optax

        total = max(2, steps)
        schedule = optax.warmup_cosine_decay_schedule(
            0.0,
            self.learning_rate,
            # At least one step must be left to decay in, even if all should warm up.
            min(max(1, round(self.warmup * steps)), total - 1),
            total,
            self.learning_rate / 10,
        )
        return optax.chain(
            optax.clip_by_global_norm(self.clip),
            optax.adamw(schedule, b2=self.beta2, weight_decay=self.weight_decay),
        )
