"""Training without elasticity."""

import dataclasses

from search.space import Space
from supernets.policies.policy import Draw, Moment, Slot, Subnets, draw_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class LargestOnly:
    """Each step trains the largest subnet alone.

    The first phase of progressive training (Once-for-All, Cai 2020, section 3.3), and
    the control that shows what elasticity costs the largest.
    """

    def slots(self, space: Space) -> tuple[Slot, ...]:  # noqa: ARG002
        """The largest."""
        return (Slot(role="largest", fixed=True),)

    def draw(self, subnets: Subnets, moment: Moment) -> Draw:  # noqa: ARG002
        """Fills the slot of one step."""
        return draw_of(subnets.space.largest[None])
