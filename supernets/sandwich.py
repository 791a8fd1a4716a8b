"""The sandwich rule: which subnets a step trains, and on what."""

import dataclasses

import numpy as np

from search.space import Genotypes, Space


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sandwich:
    """Each step trains the largest, the smallest and some random subnets.

    The largest learns from the data; the others learn from the data and from its
    detached predictions (US-Nets, Yu and Huang 2019, sections 3.2-3.3). Gradients of
    all subnets of a step are averaged into one update.

    Raises:
        ValueError: If a value is out of range.
    """

    random: int = 2
    """Subnets sampled for each step beside the largest and the smallest."""
    distillation: float = 0.5
    """Share of in-place distillation in the loss of all but the largest, 0 to 1."""

    def __post_init__(self) -> None:
        if self.random < 0:
            raise ValueError(f"random must not be negative, got {self.random}")
        if not 0.0 <= self.distillation <= 1.0:
            raise ValueError(f"distillation must lie in 0..1, got {self.distillation}")

    @property
    def subnets(self) -> int:
        """Subnets trained in one step."""
        return 2 + self.random

    def sample(self, space: Space, *, seed: int, step: int) -> Genotypes:
        """Returns the random subnets of a step, the same on every host."""
        return space.sample(self.random, np.random.default_rng([seed, step]))
