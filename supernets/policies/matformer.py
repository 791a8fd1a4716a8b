"""Nested sub-models of one axis: granularities."""

import dataclasses
from typing import Literal

from search.space import Space
from supernets.policies.ladder import ladder
from supernets.policies.policy import Draw, Moment, Slot, Subnets, Teacher, draw_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatFormer:
    """Each step trains one granularity of an axis, or all of them.

    A granularity gives every layer the same value of the axis; the other axes stay at
    their largest (MatFormer, Devvrit 2024). Layers that differ are not trained but can
    be taken out ("Mix'n'Match"), which is what a search over the space does.

    The paper draws one granularity for each step (Eq. 2); its published code trains all
    of them and adds up their gradients. At equal numbers of updates training all is
    better, at equal numbers of passes training one.

    With ``weight_bits`` as the axis and all granularities it is MatQuant (Nair 2025),
    whose sub-models are the leading bits of the same weights.

    Raises:
        ValueError: If a single granularity is to learn from another one, or shares are
            not those of all granularities.
    """

    axis: str = "ffn"
    """Name of the choice that is varied; it must be open."""
    granularities: Literal["one", "all"] = "one"
    """What a step trains: one granularity at random, or all, the largest first."""
    teacher: Teacher = "data"
    """Whom all but the largest learn from; the paper has no teacher."""
    shares: tuple[float, ...] | None = None
    """What each granularity counts in a step that trains all, the largest first; equal
    unless given. MatQuant has 0.1, 0.1 and 1 for 8, 4 and 2 bits."""

    def __post_init__(self) -> None:
        if self.granularities == "one" and self.teacher in ("largest", "previous"):
            raise ValueError(
                f"one granularity alone in a step has no {self.teacher!r} to learn "
                'from; use granularities="all"'
            )
        if self.shares is None:
            return
        if self.granularities == "one":
            raise ValueError(
                f"shares {self.shares} are of a step that trains all granularities; "
                'use granularities="all", or leave them out'
            )
        if not all(share > 0 for share in self.shares):
            raise ValueError(f"shares must be positive, got {self.shares}")

    def slots(self, space: Space) -> tuple[Slot, ...]:
        """The granularity; or the largest, then the others."""
        others = len(ladder(space, self.axis)) - 1
        if self.shares is not None and len(self.shares) != others + 1:
            raise ValueError(
                f"{self.axis} has {others + 1} granularities, and shares are "
                f"{self.shares}: give one for each, the largest first"
            )
        granularity = Slot(role="granularity", teacher=self.teacher)
        if self.granularities == "one":
            return (granularity,)
        return Slot(role="largest", fixed=True), *[granularity] * others

    def draw(self, subnets: Subnets, moment: Moment) -> Draw:
        """Fills the slots of one step."""
        rungs = ladder(subnets.space, self.axis)
        if self.granularities == "one":
            return draw_of(moment.rng.choice(rungs)[None])
        return draw_of(*rungs[::-1, None], weights=self.shares)
