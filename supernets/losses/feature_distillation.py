"""Learning features that do not depend on the size of the network."""

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
class FeatureDistillation:
    """Distance of normalised features from a teacher's, mixed with other losses.

    This is configuration-invariant distillation, CI-KD (Efficient Controllable
    Multi-Task Architectures, arXiv 2308.11744): features of every width agree with
    those of the largest. The paper's equation was not found. Ours is one reading of its
    abstract: ``|| norm(z) - sg norm(z_largest) ||^2``, where the features that are
    active in both are brought to length 1 (`supernets.losses.feature_distance`).

    Raises:
        ValueError: If a share or the smoothing is out of range, or if the shares add up
            to more than 1.
    """

    needs_teacher: ClassVar[bool] = True
    needs_exits: ClassVar[bool] = False

    share: float = 0.5
    """Share of the features in the loss, 0 to 1."""
    logits_share: float = 0.0
    """Share of the soft cross-entropy against the teacher's predictions. What both
    leave is cross-entropy on data."""
    smoothing: float = 0.0
    """Label smoothing of the loss on the data, as of `CrossEntropy`."""

    def __post_init__(self) -> None:
        require_shares(share=self.share, logits_share=self.logits_share)
        require_smoothing(self.smoothing)
        if self.share + self.logits_share > 1:
            raise ValueError(
                "share and logits_share must not add up to more than 1, got "
                f"{self.share} and {self.logits_share}"
            )

    def __call__(
        self,
        network: Network,
        batch: Batch,
        teacher: Outputs | None,
        key: "jax.Array",  # noqa: ARG002 - losses are called alike
    ) -> Lesson:
        """Returns the mean over examples: entropies in nats, the distance in 0..4.

        Raises:
            ValueError: If there is no teacher.
        """
        # Imported here so that reading a recipe starts no array library.
        from supernets.losses.entropy import data_loss, soft_loss
        from supernets.losses.feature_distance import feature_distance

        teacher = given(teacher, self)
        outputs = network(batch.inputs)
        apart = feature_distance(outputs, teacher)
        soft = soft_loss(outputs.logits, teacher.logits)
        data = data_loss(outputs.logits, batch.targets, smoothing=self.smoothing)
        rest = 1 - self.share - self.logits_share
        objective = self.share * apart + self.logits_share * soft + rest * data
        return Lesson(objective, outputs)
