"""How fast a training goes, in what it learns from."""

import math
import time

from nas.data.dataset import Dataset

SMOOTHING = 0.9
"""Weight of the past in the mean time of a step; one step in ten counts."""


class Speedometer:
    """Counts tokens or images in a second.

    The first step after each `restart` is not counted: it compiles.

    Args:
        data: What is learnt from.
    """

    def __init__(self, data: Dataset) -> None:
        example = data.example
        self.unit = "tokens" if len(example) == 1 else "images"
        self._per_example = math.prod(example) if len(example) == 1 else 1
        self._last: float | None = None
        self._seconds = self._counted = 0.0

    def restart(self) -> None:
        """Leaves out the time until the next step has ended."""
        self._last = None

    def step(self, examples: int) -> None:
        """Takes note that a step has ended.

        Args:
            examples: That its subnets saw, each once.
        """
        now = time.monotonic()
        if self._last is not None:
            old = SMOOTHING if self._counted else 0.0
            self._seconds = old * self._seconds + (1 - old) * (now - self._last)
            seen = examples * self._per_example
            self._counted = old * self._counted + (1 - old) * seen
        self._last = now

    @property
    def rate(self) -> float:
        """Tokens or images in a second; zero before two steps have ended."""
        return self._counted / self._seconds if self._seconds else 0.0

    def __str__(self) -> str:
        return f"{self.rate:,.0f} {self.unit}/s" if self.rate else ""
