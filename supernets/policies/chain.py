"""The largest, random ones and the smallest, each taught by the one before."""

import dataclasses

from search.space import Space
from supernets.policies.policy import Draw, Moment, Slot, Subnets, draw_of
from supernets.policies.stratified import Sampling, sample


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chain:
    """Each step trains the largest, some random subnets, and the smallest, in a chain.

    Everybody learns from the one before, so that what the smallest is taught is within
    its reach (group progressive guidance of EQ-Net, Xu 2023, where the largest has the
    most bits). The loss of the paper is ``Losses(taught=Distillation(share=0.5))``,
    which is the default.

    Raises:
        ValueError: If there is no random subnet.
    """

    random: int = 1
    """Subnets sampled for each step between the largest and the smallest."""
    sampling: Sampling = "uniform"
    """How they are sampled: even over costs, or with uniform genes as in EQ-Net."""

    def __post_init__(self) -> None:
        if self.random < 1:
            raise ValueError(f"random must be at least 1, got {self.random}")

    def slots(self, space: Space) -> tuple[Slot, ...]:  # noqa: ARG002
        """The largest, the random ones, then the smallest."""
        return (
            Slot(role="largest", fixed=True),
            *[Slot(role="sampled", teacher="previous")] * self.random,
            Slot(role="smallest", teacher="previous"),
        )

    def draw(self, subnets: Subnets, moment: Moment) -> Draw:
        """Fills the slots of one step."""
        space = subnets.space
        sampled = sample(subnets, self.random, moment.rng, self.sampling)
        return draw_of(space.largest[None], *sampled[:, None], space.smallest[None])
