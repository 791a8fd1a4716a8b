"""Learning at every depth in one pass."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from supernets.losses.loss import (
    Batch,
    Lesson,
    Network,
    Outputs,
    require_shares,
    require_smoothing,
)

if TYPE_CHECKING:
    import jax


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExitLoss:
    """Loss on the data after each choice of depth, as a weighted mean.

    One pass through the deepest network trains every depth; the head is shared. It is
    for the largest subnet: other ones need not have all depths.

    Exits may also learn from deeper ones (hierarchical self-distillation,
    ModularStarEncoder).

    Raises:
        ValueError: If a share or the smoothing is out of range, or ``early``.
    """

    needs_teacher: ClassVar[bool] = False
    needs_exits: ClassVar[bool] = True

    weights: Literal["equal", "depth", "last"] = "equal"
    """How much each exit counts. ``equal`` (SoFT, Sorted LLaMA, arXiv 2309.08968);
    ``depth``, in proportion to its layers (ModularStarEncoder); ``last``, in proportion
    to the sum of the numbers of the layers below it, and the last one more (LayerSkip,
    arXiv 2404.16710), which gives an exit after a single layer no weight."""
    early: float = 1.0
    """Factor on the weights of all exits but the last, 0 to 1 (LayerSkip's e_scale)."""
    exits: Literal["all", "rotating"] = "all"
    """Which count in a step: all, or the last and a random one of the others, since all
    at once may harm the last (rotational curriculum, LayerSkip, there in turn). All are
    computed either way."""
    share: float = 0.0
    """Share of a deeper exit's predictions in the loss of each but the last, 0 to 1."""
    teacher: Literal["next", "last"] = "next"
    """Which deeper exit that is; it gets no gradient."""
    smoothing: float = 0.0
    """Label smoothing of the loss on the data, as of `CrossEntropy`."""

    def __post_init__(self) -> None:
        require_shares(early=self.early, share=self.share)
        require_smoothing(self.smoothing)

    def __call__(
        self,
        network: Network,
        batch: Batch,
        teacher: Outputs | None,  # noqa: ARG002 - losses are called alike
        key: "jax.Array",
    ) -> Lesson:
        """Returns the mean over examples, summed over tasks, in nats.

        The outputs of the lesson are those of the last exit.

        Raises:
            ValueError: If depth is not a choice under the ``prefix`` rule.
        """
        exits = network.exits(batch.inputs)
        weights = self.weights_in_step(network.depths, key)
        losses = [
            self._loss_of(exits, index, batch.targets) for index in range(len(exits))
        ]
        parts = [weight * loss for weight, loss in zip(weights, losses, strict=True)]
        return Lesson(sum(parts[1:], start=parts[0]), exits[-1])

    def exit_weights(self, depths: tuple[int, ...]) -> tuple[float, ...]:
        """Returns the weight of each exit; they add up to 1.

        Args:
            depths: Layers that run before each exit, fewest first.
        """
        *early, last = depths
        if self.weights == "last":
            # LayerSkip, with l = depth - 1: e(l) = e_scale sum_{i<=l} i, and at the
            # last of L layers L - 1 + e_scale sum_{i<=L-2} i. A single layer sums to 0.
            sums = [depth * (depth - 1) / 2 for depth in early]
            final = max(last - 1 + self.early * (last - 1) * (last - 2) / 2, 1)
        else:
            sums = [depth if self.weights == "depth" else 1 for depth in early]
            final = last if self.weights == "depth" else 1
        raw = [*(self.early * each for each in sums), final]
        return tuple(weight / sum(raw) for weight in raw)

    def weights_in_step(
        self, depths: tuple[int, ...], key: "jax.Array"
    ) -> "tuple[float | jax.Array, ...]":
        """Returns the weight of each exit in one step; they add up to 1.

        Args:
            depths: Layers that run before each exit, fewest first.
            key: Picks the exit that counts beside the last, if they rotate.
        """
        weights = self.exit_weights(depths)
        if self.exits == "all" or len(weights) == 1:
            return weights
        # Imported here so that reading a recipe starts no array library.
        import jax
        import jax.numpy as jnp

        *early, last = weights
        picked = jax.random.randint(key, (), 0, len(early))
        counted = [jnp.where(picked == i, w, 0.0) for i, w in enumerate(early)]
        total = sum(counted[1:], start=counted[0]) + last
        return *(weight / total for weight in counted), last / total

    def _loss_of(
        self,
        exits: tuple[Outputs, ...],
        index: int,
        targets: "jax.Array | Mapping[str, jax.Array]",
    ) -> "jax.Array":
        """Returns the loss of one exit."""
        from supernets.losses.entropy import data_loss, soft_loss

        logits, last = exits[index].logits, len(exits) - 1
        data = data_loss(logits, targets, smoothing=self.smoothing)
        if not self.share or index == last:
            return data
        deeper = exits[index + 1 if self.teacher == "next" else last].logits
        return (1 - self.share) * data + self.share * soft_loss(logits, deeper)
