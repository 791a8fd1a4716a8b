"""Random subnets whose mean size goes down and up again."""

import dataclasses

import numpy as np

from search.space import Space
from supernets.policies.policy import Draw, Loner, Moment, Slot, Subnets, draw_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeanBudget:
    """Each step trains random subnets of a mean size that follows a triangle in time.

    The size falls from the largest to the smallest and rises again in every period:
    ``E[b](t) = b_1 + (b_N - b_1) |2 t / period - 1|`` (LLM-QFA, Yi 2024, for bit
    widths). It is the mean of every open gene, by position between its first and last
    value (the ``tilt`` of `Space.sample`), so that all means are trained alike, which
    uniform genes do not do. Open the axes it is meant for with ``Phase.elastic``.

    Raises:
        ValueError: If a value is out of range.
    """

    subnets: int = 1
    """Subnets of each step, all of the same mean size."""
    period: int | None = None
    """Steps from the largest to the smallest and back; the whole phase unless given.
    LLM-QFA has 8,000 of 10,000 steps; 1,000 were worse."""
    teacher: Loner = "data"
    """Whom they learn from."""

    def __post_init__(self) -> None:
        if self.subnets < 1:
            raise ValueError(f"subnets must be at least 1, got {self.subnets}")
        if self.period is not None and self.period < 2:
            raise ValueError(f"period must be at least 2 steps, got {self.period}")

    def slots(self, space: Space) -> tuple[Slot, ...]:  # noqa: ARG002
        """The random ones."""
        return (Slot(role="sampled", teacher=self.teacher),) * self.subnets

    def tilt(self, moment: Moment) -> float:
        """Returns the mean size: 0 of the smallest, 1 of the largest."""
        period = self.period or moment.steps
        return abs(2 * (moment.step % period) / period - 1)

    def draw(self, subnets: Subnets, moment: Moment) -> Draw:
        """Fills the slots of one step."""
        tilt = np.full(self.subnets, self.tilt(moment))
        sampled = subnets.space.sample(self.subnets, moment.rng, tilt)
        return draw_of(*sampled[:, None])
