"""A trace of a few training steps, for TensorBoard's profiler or Perfetto."""

from collections.abc import Callable
from pathlib import Path

import jax

FIRST, LAST = 3, 8
"""Steps of a process that are traced: those before compile and warm up."""


class Tracer:
    """Traces some steps after a process began to train.

    Args:
        directory: Where the trace goes; ``None`` traces nothing.
        tell: Called with a message when it is written.
    """

    def __init__(self, directory: Path | None, tell: Callable[[str], None]) -> None:
        self.directory, self.tell = directory, tell
        self._steps = 0
        self._running = False

    def step(self) -> None:
        """Takes note that a step is about to begin."""
        if self.directory is None:
            return
        if self._steps == FIRST:
            jax.profiler.start_trace(self.directory)
            self._running = True
        elif self._steps > LAST:
            self.close()
        self._steps += 1

    def close(self) -> None:
        """Writes the trace, if one is being taken."""
        if self._running:
            jax.profiler.stop_trace()
            self._running = False
            self.tell(f"trace of {LAST - FIRST + 1} steps: {self.directory}")
