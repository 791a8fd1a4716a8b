"""Learning from another network's predictions."""

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from supernets.losses.loss import (
    Batch,
    Lesson,
    Network,
    Outputs,
    given,
    require_shares,
    require_smoothing,
)

if TYPE_CHECKING:
    import jax


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distillation:
    """Soft cross-entropy against a teacher, mixed with the loss on the data.

    With the largest subnet of the step as teacher this is in-place distillation
    (US-Nets, Yu and Huang 2019, section 3.3), which BigNAS uses alone, at a share of 1.
    With a frozen one it is that of Once-for-All, which adds both losses: half of each,
    at twice the step. With the slot before as teacher it is the chain of EQ-Net (Xu
    2023), at a share of one half.

    Raises:
        ValueError: If a share or the smoothing is out of range, or if the temperature
            is not positive.
    """

    needs_teacher: ClassVar[bool] = True
    needs_exits: ClassVar[bool] = False

    share: float = 0.5
    """Share of the teacher in the loss, 0 to 1; the rest is cross-entropy on data."""
    temperature: float = 1.0
    """What both logits are divided by before the softmax. The loss is multiplied by its
    square, so that its gradient keeps its size (Hinton 2015, section 2)."""
    smoothing: float = 0.0
    """Label smoothing of the loss on the data, as of `CrossEntropy`."""

    def __post_init__(self) -> None:
        require_shares(share=self.share)
        require_smoothing(self.smoothing)
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")

    def __call__(
        self,
        network: Network,
        batch: Batch,
        teacher: Outputs | None,
        key: "jax.Array",  # noqa: ARG002 - losses are called alike
    ) -> Lesson:
        """Returns the mean over examples, summed over tasks, in nats.

        Raises:
            ValueError: If there is no teacher.
        """
        # Imported here so that reading a recipe starts no array library.
        from supernets.losses.entropy import data_loss, soft_loss

        teacher = given(teacher, self)
        outputs = network(batch.inputs)
        data = data_loss(outputs.logits, batch.targets, smoothing=self.smoothing)
        soft = soft_loss(outputs.logits, teacher.logits, temperature=self.temperature)
        return Lesson((1 - self.share) * data + self.share * soft, outputs)
