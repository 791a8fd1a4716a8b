"""Learning to be right on inputs that an adversary has changed."""

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
from supernets.losses.pgd import Pgd

if TYPE_CHECKING:
    import jax


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdversarialDistillation:
    """Distillation from a robust teacher, on adversarial inputs too (RSLAD, Zi 2021).

    The adversary seeks inputs ``x'`` near ``x`` at which the subnet that is trained
    differs most from what its teacher says of ``x``. The loss is ``5/6 KL(teacher(x) ||
    student(x')) + 1/6 KL(teacher(x) || student(x))`` plus the teacher's entropy, which
    has no gradient: labels are not used (ProARD, arXiv 2506.07666, whose code smooths
    the teacher's logarithm and also divides by the number of classes). Without a
    distance to go it is `Distillation` at a share of 1.

    Raises:
        ValueError: If the share is out of range.
    """

    needs_teacher: ClassVar[bool] = True
    needs_exits: ClassVar[bool] = False

    share: float = 5 / 6
    """Share of adversarial inputs in the loss, 0 to 1; the rest is of natural ones."""
    adversary: Pgd = Pgd()
    """How adversarial inputs are found."""

    def __post_init__(self) -> None:
        require_shares(share=self.share)

    def __call__(
        self,
        network: Network,
        batch: Batch,
        teacher: Outputs | None,
        key: "jax.Array",
    ) -> Lesson:
        """Returns the mean over examples, summed over tasks, in nats.

        Raises:
            ValueError: If there is no teacher, or if inputs are not real numbers.
        """
        # Imported here so that reading a recipe starts no array library.
        from supernets.losses.entropy import soft_loss

        labels, quiet = given(teacher, self).logits, network.detached()

        def disagreement(inputs: "jax.Array") -> "jax.Array":
            return soft_loss(quiet(inputs).logits, labels)

        changed = self.adversary.attack(disagreement, batch.inputs, key)
        outputs = network(batch.inputs)
        robust = soft_loss(network(changed).logits, labels)
        natural = soft_loss(outputs.logits, labels)
        return Lesson(self.share * robust + (1 - self.share) * natural, outputs)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trades:
    """Cross-entropy on the data, and consistency under attack (TRADES, Zhang 2019).

    The loss is ``CE(f(x), y) + beta KL(f(x) || f(x'))`` (Eq. 5), where the adversary
    seeks the inputs ``x'`` near ``x`` of the largest divergence. Both predictions have
    a gradient. It trains the largest subnet, from which `AdversarialDistillation` then
    teaches the others.

    Raises:
        ValueError: If beta is negative, or the smoothing out of range.
    """

    needs_teacher: ClassVar[bool] = False
    needs_exits: ClassVar[bool] = False

    beta: float = 6.0
    """Weight of the divergence, beside 1 for the data."""
    adversary: Pgd = Pgd()
    """How adversarial inputs are found."""
    smoothing: float = 0.0
    """Label smoothing of the loss on the data, as of `CrossEntropy`."""

    def __post_init__(self) -> None:
        require_smoothing(self.smoothing)
        if not self.beta >= 0:
            raise ValueError(f"beta must not be negative, got {self.beta}")

    def __call__(
        self,
        network: Network,
        batch: Batch,
        teacher: Outputs | None,  # noqa: ARG002 - losses are called alike
        key: "jax.Array",
    ) -> Lesson:
        """Returns the mean over examples, summed over tasks, in nats.

        Raises:
            ValueError: If inputs are not real numbers.
        """
        # Imported here so that reading a recipe starts no array library.
        from supernets.losses.divergences import kl_loss
        from supernets.losses.entropy import data_loss

        quiet = network.detached()
        predicted = quiet(batch.inputs).logits

        def divergence(inputs: "jax.Array") -> "jax.Array":
            return kl_loss(predicted, quiet(inputs).logits)

        changed = self.adversary.attack(divergence, batch.inputs, key)
        outputs = network(batch.inputs)
        data = data_loss(outputs.logits, batch.targets, smoothing=self.smoothing)
        apart = kl_loss(outputs.logits, network(changed).logits)
        return Lesson(data + self.beta * apart, outputs)
