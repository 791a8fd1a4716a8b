"""Random subnets with uniform genes: single-path training."""

import dataclasses

from search.space import Space
from supernets.policies.policy import Draw, Loner, Moment, Slot, Subnets, draw_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Uniform:
    """Each step trains random subnets, every gene uniform over its values.

    With one subnet this is single-path training (SPOS, Guo 2020; AutoFormer, Chen
    2021); with 2 to 4 and the teacher ``frozen`` it is what Once-for-All trains in each
    of its phases (Cai 2020). The ends of the cost range are hardly ever drawn: see
    `supernets.policies.stratified`.

    Raises:
        ValueError: If there is no subnet.
    """

    subnets: int = 1
    """Subnets of each step."""
    teacher: Loner = "data"
    """Whom they learn from."""

    def __post_init__(self) -> None:
        if self.subnets < 1:
            raise ValueError(f"subnets must be at least 1, got {self.subnets}")

    def slots(self, space: Space) -> tuple[Slot, ...]:  # noqa: ARG002
        """The random ones."""
        return (Slot(role="sampled", teacher=self.teacher),) * self.subnets

    def draw(self, subnets: Subnets, moment: Moment) -> Draw:
        """Fills the slots of one step."""
        sampled = subnets.space.sample(self.subnets, moment.rng)
        return draw_of(*sampled[:, None])
