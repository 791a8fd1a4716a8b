"""Phases of training: what is elastic when, and who trains it."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from search.space import Space
from supernets.losses.losses import Losses
from supernets.policies.policy import Cost, Draw, Moment, Slot, Subnets
from supernets.policies.registry import PolicySpec
from supernets.policies.sandwich import Sandwich
from supernets.slots import Examples, require_examples
from supernets.trained import Trains

FULL_STEPS = 1
"""The purpose of the randomness that says which steps are full; policies have 0."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phase:
    """A part of the training: a restricted space, a policy and its losses.

    Progressive training opens one axis after another (Once-for-All, Cai 2020, section
    3.3), while steps of the largest subnet alone get fewer (VARiant, arXiv 2511.16546).

    Raises:
        ValueError: If a share is out of range.
    """

    share: float = 1.0
    """Length, relative to that of the other phases."""
    policy: PolicySpec = Sandwich()
    """Which subnets its steps train."""
    losses: Losses = Losses()
    """What they learn from."""
    elastic: tuple[str, ...] | None = None
    """Names of the axes that are open, as ``ffn`` or ``depth``; others stay at their
    largest value. Unless given, all are open."""
    full: float = 0.0
    """Share of the steps that train the largest subnet alone, 0 to 1."""
    examples: Examples = "shared"
    """Whether the subnets of a step see the same examples, or each a batch of its own:
    as many passes then learn from more data, but nobody can have a teacher."""
    sort: tuple[str, ...] = ()
    """Names of the sizes whose channels are sorted by importance when the phase begins,
    as ``ffn``; see `supernets.importance`."""
    trains: Trains = "all"
    """Which parameters learn; see `supernets.trained`."""
    calibrate: bool = False
    """Whether scales of quantised weights and activations are searched anew when the
    phase begins; see `supernets.quantization.calibration`."""

    def __post_init__(self) -> None:
        if not 0.0 < self.share < math.inf:
            raise ValueError(f"share must be positive, got {self.share}")
        if not 0.0 <= self.full <= 1.0:
            raise ValueError(f"full must lie in 0..1, got {self.full}")

    def space(self, whole: Space) -> Space:
        """Returns the part of a space that is open.

        Raises:
            ValueError: If a name is not one of its axes, or if a rule excludes the
                smallest of what is open.
        """
        if self.elastic is None:
            return whole
        if unknown := [name for name in self.elastic if name not in whole.axes]:
            there = list(whole.axes)
            raise ValueError(f"no axis {unknown[0]!r} to open; there are {there}")
        closed = {
            name: values[-1:]
            for name, values in whole.axes.items()
            if name not in self.elastic
        }
        return whole.restrict(**closed)

    def slots(self, whole: Space) -> tuple[Slot, ...]:
        """Returns the slots of its steps.

        Raises:
            ValueError: If a name is not one of the axes, if one to sort is not that of
                a size, if the policy has nothing to vary among those that are open, or
                if it gives a teacher to subnets that see examples of their own.
        """
        self._require_sizes(whole)
        slots = self.policy.slots(self.space(whole))
        require_examples(slots, self.examples)
        if not self.full:
            return slots
        first, *others = slots
        return first, *(dataclasses.replace(slot, optional=True) for slot in others)

    def batch_size(self, whole: Space, size: int) -> int:
        """Returns how many examples a step takes if each subnet is to see ``size``."""
        return size * len(self.slots(whole)) if self.examples == "own" else size

    def _require_sizes(self, whole: Space) -> None:
        sizes = [c.name for c in whole.choices if type(c.values[0]) is int]
        if unknown := [name for name in self.sort if name not in sizes]:
            raise ValueError(
                f"{unknown[0]!r} has no channels to sort; sizes are {sizes}"
            )


class Step(NamedTuple):
    """One step of a plan.

    Attributes:
        phase: Number of its phase.
        draw: What fills its slots, as members of the whole space.
    """

    phase: int
    draw: Draw


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which phase each step belongs to, and what it trains.

    Attributes:
        phases: In order.
        steps: Of all of them together.
        whole: The space of the supernet.
        cost: Prices genotypes of that space.
        seed: Of the draws.

    Raises:
        ValueError: If there is no phase, or fewer steps than phases.
    """

    phases: tuple[Phase, ...]
    steps: int
    whole: Space
    cost: Cost
    seed: int

    def __post_init__(self) -> None:
        if not self.phases:
            raise ValueError("training needs at least one phase")
        if self.steps < len(self.phases):
            raise ValueError(
                f"{self.steps} steps are too few for {len(self.phases)} phases"
            )

    @functools.cached_property
    def starts(self) -> tuple[int, ...]:
        """The first step of each phase, and the number of all steps."""
        return starts(self.phases, self.steps)

    @functools.cached_property
    def _subnets(self) -> tuple[Subnets, ...]:
        """What each phase draws from: made once, since every step reads it."""
        return tuple(self._open(phase.space(self.whole)) for phase in self.phases)

    def _open(self, space: Space) -> Subnets:
        return Subnets(space, lambda rows: self.cost(self.whole.lift(space, rows)))

    def phase_of(self, step: int) -> int:
        """Returns the number of the phase that a step belongs to.

        Raises:
            ValueError: If the plan has no such step.
        """
        if not 0 <= step < self.steps:
            raise ValueError(f"step {step} is not one of 0..{self.steps - 1}")
        return int(np.searchsorted(self.starts, step, side="right")) - 1

    def step(self, step: int) -> Step:
        """Returns what a step trains; a pure function of the plan and its number.

        Raises:
            ValueError: If the plan has no such step.
        """
        number = self.phase_of(step)
        phase, subnets = self.phases[number], self._subnets[number]
        start, end = self.starts[number : number + 2]
        moment = Moment(self.seed, step - start, end - start, number)
        draw = phase.policy.draw(subnets, moment)
        draw = draw._replace(genotypes=self._lifted(subnets.space, draw.genotypes))
        if phase.full and moment.generator(FULL_STEPS).random() < phase.full:
            draw = self._full(draw)
        return Step(number, draw)

    def _lifted(
        self, space: Space, genotypes: Int[np.ndarray, "slots candidates genes"]
    ) -> Int[np.ndarray, "slots candidates whole_genes"]:
        slots, candidates, genes = genotypes.shape
        rows = self.whole.lift(space, genotypes.reshape(-1, genes))
        return rows.reshape(slots, candidates, -1)

    def _full(self, draw: Draw) -> Draw:
        """Returns a step of the largest subnet alone, in the first slot."""
        genotypes = draw.genotypes.copy()
        genotypes[0] = self.whole.largest
        return Draw(genotypes, np.eye(1, len(draw.weights), dtype=np.float32)[0])


def starts(phases: Sequence[Phase], steps: int) -> tuple[int, ...]:
    """Returns the first step of each phase by shares, and the number of all steps.

    Every phase has a step, however small its share.

    Args:
        phases: In order.
        steps: Of all of them together, at least as many as there are phases.
    """
    shares = np.cumsum([0.0, *(phase.share for phase in phases)])
    bounds = np.round(shares / shares[-1] * steps).astype(int)
    least = np.arange(len(bounds))
    # Each bound lies behind the one before, and leaves a step for each phase after it.
    bounds = np.maximum.accumulate(bounds - least) + least
    bounds = np.minimum(bounds, steps - least[::-1])
    return tuple(int(bound) for bound in bounds)
