"""The sandwich rule: the largest, the smallest and some in between."""

import dataclasses

from search.space import Space
from supernets.policies.policy import (
    Draw,
    Moment,
    Slot,
    Subnets,
    Teacher,
    draw_of,
)
from supernets.policies.stratified import Sampling, sample


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sandwich:
    """Each step trains the largest, the smallest and some random subnets.

    The largest learns from the data, the others also from their teacher (US-Nets, Yu
    and Huang 2019; BigNAS, Yu 2020). Both papers draw genes uniformly, of which US-Nets
    has one; with many the drawn subnets are all average, so that their cost is what is
    uniform here (`supernets.policies.stratified`).

    Raises:
        ValueError: If a value is out of range.
    """

    random: int = 2
    """Subnets sampled for each step beside the largest and the smallest."""
    sampling: Sampling = "stratified"
    """How they are sampled: even over costs, or with uniform genes."""
    teacher: Teacher = "largest"
    """Whom all but the largest learn from."""

    def __post_init__(self) -> None:
        if self.random < 0:
            raise ValueError(f"random must not be negative, got {self.random}")

    def slots(self, space: Space) -> tuple[Slot, ...]:  # noqa: ARG002
        """The largest, the smallest, then the random ones."""
        return (
            Slot(role="largest", fixed=True),
            Slot(role="smallest", teacher=self.teacher),
            *[Slot(role="sampled", teacher=self.teacher)] * self.random,
        )

    def draw(self, subnets: Subnets, moment: Moment) -> Draw:
        """Fills the slots of one step."""
        space = subnets.space
        sampled = sample(subnets, self.random, moment.rng, self.sampling)
        ends = space.largest[None], space.smallest[None]
        return draw_of(*ends, *sampled[:, None])
