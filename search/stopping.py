"""When a campaign ends: enough evaluations, enough time, or nothing gained."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

Reason = Literal["evaluations", "seconds", "stagnation", "exhausted"]
"""Why a campaign ended; ``exhausted`` is that no new genotypes were found."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stop:
    """Rules for the end of a campaign; the first that holds ends it.

    They are asked before each generation. Evaluations and stagnation depend on what
    was told alone, so a campaign that is resumed ends where it would have ended
    uninterrupted. Time does not: it counts from when this process began or resumed the
    campaign. What an archive answers takes next to none of it.

    Raises:
        ValueError: If a number is out of range.
    """

    evaluations: int
    """Distinct genotypes to evaluate."""
    seconds: float | None = None
    """Time to search; a generation that has begun is finished. Any, if left out."""
    stagnation: int | None = None
    """Generations in which the hypervolume has to grow by more than the tolerance. It
    is not asked for before there is a hypervolume, or at all if left out."""
    tolerance: float = 1e-3
    """Growth of the hypervolume that counts, relative to what it was."""

    def __post_init__(self) -> None:
        if self.evaluations < 1:
            raise ValueError(f"evaluations must be at least 1, got {self.evaluations}")
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise ValueError(
                f"seconds must be finite and greater than 0, got {self.seconds}"
            )
        if self.stagnation is not None and self.stagnation < 1:
            raise ValueError(f"stagnation must be at least 1, got {self.stagnation}")
        if not 0 <= self.tolerance < math.inf:
            raise ValueError(
                f"tolerance must be finite and not negative, got {self.tolerance}"
            )

    def reason(
        self, evaluations: int, seconds: float, volumes: Sequence[float]
    ) -> Reason | None:
        """Returns why a campaign is to end now, if it is.

        >>> Stop(evaluations=100, stagnation=2).reason(24, 1.0, [0.5, 0.6, 0.6, 0.6])
        'stagnation'

        Args:
            evaluations: Distinct genotypes so far.
            seconds: Since this process began or resumed it.
            volumes: Hypervolume after each generation, below one reference.
        """
        if evaluations >= self.evaluations:
            return "evaluations"
        if self.seconds is not None and seconds >= self.seconds:
            return "seconds"
        if self.stagnation is None or len(volumes) <= self.stagnation:
            return None
        before = volumes[-1 - self.stagnation]
        gained = volumes[-1] > before * (1 + self.tolerance)
        return None if gained or before <= 0 else "stagnation"
