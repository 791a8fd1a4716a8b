"""The full network or a subnet, at odds that change."""

import dataclasses

from search.space import Space
from supernets.policies.policy import Draw, Loner, Moment, Slot, Subnets, draw_of
from supernets.policies.stratified import Sampling, sample

TRIES = 16
"""Draws until a subnet that is not the full network is the smallest one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FullOrSubnet:
    """Each step trains either the full network or one random subnet.

    The probability ``p`` of a subnet changes linearly over the phase. VARiant (arXiv
    2511.16546) trains at 0.2, ramps from 0.2 to 1, and ends at 1: three phases, with
    depth open alone. From 0 to 1 it is the rule ``random_linear`` of whittle.

    Subnets gain and the full network loses as ``p`` grows; at 1 it is no longer trained
    and soon gets much worse. End below 1, or with few steps at 1, to keep it.

    Raises:
        ValueError: If a probability is out of range.
    """

    start: float = 0.2
    """Probability of a subnet at the first step of the phase."""
    end: float = 1.0
    """Probability of a subnet at the last step of the phase."""
    sampling: Sampling = "stratified"
    """How it is sampled: even over costs, or with uniform genes."""
    teacher: Loner = "data"
    """Whom it learns from, as does the full network."""

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must lie in 0..1, got {getattr(self, name)}")

    def slots(self, space: Space) -> tuple[Slot, ...]:  # noqa: ARG002
        """One for either."""
        return (Slot(role="sampled", teacher=self.teacher),)

    def probability(self, progress: float) -> float:
        """Returns the probability of a subnet.

        Args:
            progress: How much of the phase is done, 0 to 1.
        """
        return (1 - progress) * self.start + progress * self.end

    def draw(self, subnets: Subnets, moment: Moment) -> Draw:
        """Fills the slot of one step."""
        rng, largest = moment.rng, subnets.space.largest
        if rng.random() >= self.probability(moment.progress):
            return draw_of(largest[None])
        for _ in range(TRIES):
            drawn = sample(subnets, 1, rng, self.sampling)
            # The full network is a member too, but it has had its chance.
            if (drawn != largest).any():
                return draw_of(drawn)
        return draw_of(subnets.space.smallest[None])
