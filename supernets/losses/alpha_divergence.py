"""Learning from a teacher without copying how sure or unsure it is."""

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
class AlphaDivergence:
    """The larger of two alpha-divergences from a teacher (AlphaNet, Wang 2021).

    The first penalises a student that is less sure than its teacher, the second one
    that is surer; for each example the larger counts. The formulas are in
    `supernets.losses.divergences`. The authors clip gradients by value at 1.

    Raises:
        ValueError: If a share or the smoothing is out of range, if the alphas are not
            in order, or if the clip is below 1.
    """

    needs_teacher: ClassVar[bool] = True
    needs_exits: ClassVar[bool] = False

    alpha_min: float = -1.0
    """Alpha of the first divergence; 0 is KL(student || teacher)."""
    alpha_max: float = 1.0
    """Alpha of the second; 1 is KL(teacher || student)."""
    clip: float = 5.0
    """Largest power alpha of the ratio of probabilities, teacher by student; it bounds
    the gradient. An alpha of 1 needs none."""
    share: float = 1.0
    """Share of the teacher in the loss, 0 to 1; the rest is cross-entropy on data."""
    smoothing: float = 0.0
    """Label smoothing of the loss on the data, as of `CrossEntropy`."""

    def __post_init__(self) -> None:
        require_shares(share=self.share)
        require_smoothing(self.smoothing)
        if not self.alpha_min <= self.alpha_max:
            raise ValueError(
                f"alpha_min must not be above alpha_max, got {self.alpha_min} and "
                f"{self.alpha_max}"
            )
        if not self.clip >= 1:
            raise ValueError(
                f"clip must be at least 1, the ratio of equal predictions, got "
                f"{self.clip}"
            )

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
        from supernets.losses.divergences import adaptive_loss
        from supernets.losses.entropy import data_loss

        teacher = given(teacher, self)
        outputs = network(batch.inputs)
        data = data_loss(outputs.logits, batch.targets, smoothing=self.smoothing)
        divergence = adaptive_loss(
            outputs.logits,
            teacher.logits,
            alphas=(self.alpha_min, self.alpha_max),
            clip=self.clip,
        )
        return Lesson((1 - self.share) * data + self.share * divergence, outputs)
