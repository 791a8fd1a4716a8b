"""The sandwich rule, with random subnets that are picked by their loss."""

import dataclasses
from typing import Literal

from search.space import Space
from supernets.policies.policy import (
    Draw,
    Moment,
    Slot,
    Subnets,
    Teacher,
    draw_of,
)
from supernets.policies.stratified import near_costs, target_costs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attentive:
    """A sandwich whose random subnets are the best, or the worst, of several.

    For each a target cost is drawn and some subnets of about that cost; the loss on the
    step's batch, without a gradient, picks the one that is trained (AttentiveNAS, Wang
    2021: BestUp and WorstUp with the mini-batch loss). The best spend the training on
    the Pareto front, the worst lift what holds the weights back. AttentiveNAS draws
    from tables of probabilities fitted to its own space; here the candidates of a cost
    are drawn as in `supernets.policies.stratified`, which needs no table.

    A step runs ``random * candidates`` more forward passes than that of a sandwich.

    Raises:
        ValueError: If a value is out of range.
    """

    random: int = 2
    """Subnets picked for each step beside the largest and the smallest."""
    candidates: int = 3
    """Subnets that each is picked from."""
    keep: Literal["best", "worst"] = "best"
    """Which is trained: that of the lowest loss, or of the highest."""
    teacher: Teacher = "largest"
    """Whom all but the largest learn from."""

    def __post_init__(self) -> None:
        if self.random < 1:
            raise ValueError(f"random must be at least 1, got {self.random}")
        if self.candidates < 2:
            raise ValueError(
                f"candidates must be at least 2, got {self.candidates}; with one there "
                "is nothing to pick, which is Sandwich"
            )

    def slots(self, space: Space) -> tuple[Slot, ...]:  # noqa: ARG002
        """The largest, the smallest, then the picked ones."""
        picked = Slot(
            role="sampled",
            teacher=self.teacher,
            candidates=self.candidates,
            keep=self.keep,
        )
        return (
            Slot(role="largest", fixed=True),
            Slot(role="smallest", teacher=self.teacher),
            *[picked] * self.random,
        )

    def draw(self, subnets: Subnets, moment: Moment) -> Draw:
        """Fills the slots of one step."""
        space, rng = subnets.space, moment.rng
        targets = target_costs(subnets, self.random, rng)
        offered = near_costs(subnets, targets, rng, self.candidates)
        return draw_of(space.largest[None], space.smallest[None], *offered)
