"""Sub-models of falling depth, each a part of the next."""

import dataclasses
from typing import Literal

from search.space import Space
from supernets.policies.ladder import ladder
from supernets.policies.policy import Draw, Moment, Slot, Subnets, Teacher, draw_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sorted:
    """Each step trains the network at one depth, or at every depth.

    All else stays at its largest (SortedNet, Valipour 2023, arXiv 2309.00255). With one
    sub-model for each step depths take turns, deepest first, so that all are trained
    equally often; SortedNet draws them at random. Training all of them is the loss of
    Sorted LLaMA (Kavehzadeh 2024, arXiv 2309.08968), the mean over its exits.

    Every sub-model is a pass of its own, which works for each rule of depth and for
    each loss. Under the ``prefix`` rule they are all exits of the deepest: it is much
    cheaper to run that one alone (`LargestOnly`) with `supernets.losses.exits.ExitLoss`
    and gives the same gradient if exits weigh the same. Use this policy for the
    ``spaced`` and ``free`` rules, for one sub-model a step, or for a loss that has no
    exits.

    Raises:
        ValueError: If a single sub-model is to learn from another one.
    """

    submodels: Literal["one", "all"] = "one"
    """What a step trains: one depth, in turn, or all of them, the deepest first."""
    teacher: Teacher = "data"
    """Whom all but the deepest learn from; ``previous`` is the next deeper one."""

    def __post_init__(self) -> None:
        if self.submodels == "one" and self.teacher in ("largest", "previous"):
            raise ValueError(
                f"one sub-model alone in a step has no {self.teacher!r} to learn from; "
                'use submodels="all"'
            )

    def slots(self, space: Space) -> tuple[Slot, ...]:
        """The sub-model; or the largest, then shallower and shallower ones."""
        shallower = len(ladder(space, "depth")) - 1
        submodel = Slot(role="submodel", teacher=self.teacher)
        if self.submodels == "one":
            return (submodel,)
        return Slot(role="largest", fixed=True), *[submodel] * shallower

    def draw(self, subnets: Subnets, moment: Moment) -> Draw:
        """Fills the slots of one step."""
        rungs = ladder(subnets.space, "depth")[::-1]
        if self.submodels == "one":
            return draw_of(rungs[moment.step % len(rungs)][None])
        return draw_of(*rungs[:, None])
