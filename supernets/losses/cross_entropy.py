"""Learning from the data alone."""

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from supernets.losses.loss import Batch, Lesson, Network, Outputs, require_smoothing

if TYPE_CHECKING:
    import jax


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """Cross-entropy against the targets; a teacher is ignored.

    Labels are smoothed as by Szegedy (2016, section 7).

    Raises:
        ValueError: If smoothing is out of range.
    """

    needs_teacher: ClassVar[bool] = False
    needs_exits: ClassVar[bool] = False

    smoothing: float = 0.0
    """Probability that labels spread evenly over all classes (label smoothing)."""

    def __post_init__(self) -> None:
        require_smoothing(self.smoothing)

    def __call__(
        self,
        network: Network,
        batch: Batch,
        teacher: Outputs | None,  # noqa: ARG002 - losses are called alike
        key: "jax.Array",  # noqa: ARG002
    ) -> Lesson:
        """Returns the mean over examples, summed over tasks, in nats."""
        # Imported here so that reading a recipe starts no array library.
        from supernets.losses.entropy import data_loss

        outputs = network(batch.inputs)
        objective = data_loss(outputs.logits, batch.targets, smoothing=self.smoothing)
        return Lesson(objective, outputs)
