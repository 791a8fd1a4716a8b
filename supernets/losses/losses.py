"""Which loss each slot of a step has."""

import dataclasses
from typing import Literal

from search.space import Space
from supernets.losses.adversarial import AdversarialDistillation, Trades
from supernets.losses.alpha_divergence import AlphaDivergence
from supernets.losses.cross_entropy import CrossEntropy
from supernets.losses.distillation import Distillation
from supernets.losses.exits import ExitLoss
from supernets.losses.feature_distillation import FeatureDistillation
from supernets.losses.loss import Loss
from supernets.policies.policy import Slot

LossSpec = (
    CrossEntropy
    | Distillation
    | AlphaDivergence
    | FeatureDistillation
    | AdversarialDistillation
    | Trades
    | ExitLoss
)
"""Every loss that a recipe may name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Losses:
    """Losses by role: of subnets without a teacher, and of those with one.

    Raises:
        ValueError: If the loss of subnets without a teacher needs one.
    """

    data: LossSpec = CrossEntropy()
    """Of subnets that learn from the data alone, as the largest does."""
    taught: LossSpec = Distillation()
    """Of subnets that their policy gives a teacher."""
    largest: LossSpec | None = None
    """Of slots of the role ``largest``; unless given, they learn as others do. A policy
    that gives nobody a teacher so tells the largest subnet from the rest."""
    reduction: Literal["mean", "sum"] = "mean"
    """What becomes of the gradients of a step: their weighted mean, or their weighted
    sum as in the code of Once-for-All. Adam hardly tells one from the other."""

    def __post_init__(self) -> None:
        if self.data.needs_teacher:
            raise ValueError(
                f"losses.data is {type(self.data).__name__}, which needs a teacher; "
                "it is for subnets that have none"
            )

    def of(self, slot: Slot) -> Loss:
        """Returns the loss of a slot."""
        if self.largest is not None and slot.role == "largest":
            return self.largest
        return self.data if slot.teacher == "data" else self.taught

    def require(self, slots: tuple[Slot, ...], space: Space, *, noisy: bool) -> None:
        """Checks that each slot has what its loss needs, before anything is compiled.

        Args:
            slots: Of a step.
            space: Of the supernet.
            noisy: Whether the largest subnet is trained with noise.

        Raises:
            ValueError: If a loss that needs a teacher has none, or if one that reads
                exits is of a subnet that has none, or has noise.
        """
        for index, slot in enumerate(slots):
            loss = self.of(slot)
            name = f"slot {index} ({slot.role}) learns by {type(loss).__name__}"
            if loss.needs_teacher and slot.teacher == "data":
                raise ValueError(
                    f"{name}, which needs a teacher; its policy names none"
                )
            if loss.needs_exits:
                _require_exits(name, slot, space, noisy=noisy)


def _require_exits(name: str, slot: Slot, space: Space, *, noisy: bool) -> None:
    if not exit_depths(space):
        rule = space.depth and space.depth.rule
        raise ValueError(
            f"{name}, which reads exits: they need an elastic depth under the 'prefix' "
            f"rule, got {rule!r}"
        )
    if not slot.fixed:
        raise ValueError(
            f"{name}, which reads exits: only the largest subnet has them all; give it "
            "that loss alone, as losses.largest"
        )
    if noisy:
        raise ValueError(
            f"{name}, which reads exits: they have no noise; set dropout and drop_path "
            "of the regularization to 0"
        )


def exit_depths(space: Space) -> tuple[int, ...]:
    """Returns the layers that run before each exit of the largest subnet.

    None if depth is not a choice under the ``prefix`` rule: only then is each depth a
    part of the next.
    """
    if space.depth is None or space.depth.rule != "prefix":
        return ()
    return space.depth.values
