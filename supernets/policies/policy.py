"""What a policy is: it fills the slots of a training step with subnets.

The slots of a step are static: they are what is compiled. Which subnet fills each, and
how much it counts, is drawn anew for every step and is data.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from search.space import Genotypes, Space

Teacher = Literal["data", "largest", "previous", "frozen"]
"""Whom a slot learns from beside the data: nobody; the largest subnet, which is then
in the first slot; the slot before it; a network that is given and does not learn."""

Loner = Literal["data", "frozen"]
"""Whom a slot may learn from when no other subnet of the step came before it."""

Cost = Callable[[Genotypes], Float[np.ndarray, " population"]]
"""What subnets cost, in multiply-accumulates or any other measure that grows."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slot:
    """What is static of one subnet of a step.

    Raises:
        ValueError: If a fixed slot offers candidates, or there are none.
    """

    role: str
    """What the subnet is there for; names its curve. As ``largest``, ``sampled``."""
    fixed: bool = False
    """Whether it is always the largest subnet, compiled with static sizes."""
    teacher: Teacher = "data"
    """Whom it learns from."""
    candidates: int = 1
    """Subnets that are offered to it; the loss on the step's batch picks one."""
    keep: Literal["best", "worst"] = "best"
    """Which candidate is trained: that of the lowest loss, or of the highest."""
    optional: bool = False
    """Whether its weight may be zero; it is then not run at all."""

    def __post_init__(self) -> None:
        if self.candidates < 1:
            raise ValueError(f"a slot needs a candidate, got {self.candidates}")
        if self.fixed and self.candidates > 1:
            raise ValueError("a fixed slot is the largest subnet: no other candidates")


class Draw(NamedTuple):
    """What fills the slots of a step.

    Attributes:
        genotypes: Candidates of each slot; a slot with fewer repeats its own. Of fixed
            slots they say the largest.
        weights: Share of each slot in the step, at least zero, not all zero. A step's
            gradient is their weighted mean.
    """

    genotypes: Int[np.ndarray, "slots candidates genes"]
    weights: Float[np.ndarray, " slots"]


class Moment(NamedTuple):
    """When a step is drawn. The same seed and step give the same draw on every host.

    Attributes:
        seed: Of the run.
        step: Number of the step within its phase, from 0.
        steps: Length of the phase.
        phase: Number of the phase, from 0.
    """

    seed: int
    step: int
    steps: int
    phase: int = 0

    @property
    def rng(self) -> np.random.Generator:
        """A generator for this step alone, always at its start: take it once."""
        return self.generator(0)

    def generator(self, purpose: int) -> np.random.Generator:
        """Returns a generator for this step and for one purpose alone.

        No two steps of a run share one, in whichever phase they are. (A list as seed
        would not do: NumPy takes ``[seed, 1]`` and ``[seed, 1, 0]`` for the same.)
        """
        key = self.phase, self.step, purpose
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))

    @property
    def progress(self) -> float:
        """How much of the phase is done: 0 at its first step, 1 at its last."""
        return self.step / max(self.steps - 1, 1)


@dataclasses.dataclass(frozen=True)
class Subnets:
    """The subnets that a policy draws from, and what they cost.

    Attributes:
        space: Whose members they are.
        cost: Prices genotypes of that space.
    """

    space: Space
    cost: Cost

    @functools.cached_property
    def cost_range(self) -> tuple[float, float]:
        """The costs of the smallest and the largest."""
        ends = np.stack([self.space.smallest, self.space.largest])
        low, high = self.cost(ends)
        return float(low), float(high)


@runtime_checkable
class Policy(Protocol):
    """A policy, as a frozen dataclass of plain values.

    Slots that are equal and next to each other are compiled once, so a role is shared
    by all subnets that are there for the same reason. A slot learns from the
    ``largest`` only where that is the role of the first.
    """

    def slots(self, space: Space) -> tuple[Slot, ...]:
        """Returns the slots of every step; the same for all steps of a phase.

        Args:
            space: The part of the search space that is open.

        Raises:
            ValueError: If the policy has nothing to vary in it.
        """
        ...

    def draw(self, subnets: Subnets, moment: Moment) -> Draw:
        """Fills the slots of one step; a pure function of its arguments.

        Args:
            subnets: The space that the slots are for, and what its members cost.
            moment: When.
        """
        ...


def draw_of(
    *slots: Int[np.ndarray, "_ genes"], weights: tuple[float, ...] | None = None
) -> Draw:
    """Returns the draw with the given candidates in each slot.

    Args:
        *slots: Candidates of each slot, of shape ``(candidates, genes)``.
        weights: Share of each slot; equal unless given.
    """
    most = max(len(candidates) for candidates in slots)
    rows = [np.resize(c, (most, c.shape[1])) for c in slots]
    shares = np.ones(len(slots)) if weights is None else np.asarray(weights, float)
    return Draw(np.stack(rows).astype(np.int32), shares.astype(np.float32))
