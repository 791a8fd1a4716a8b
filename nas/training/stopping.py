"""Ends a training between two steps when a signal asks for it."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

ASKING = (signal.SIGTERM, signal.SIGINT)
"""What schedulers send before they take a machine away, and Ctrl-C."""


class Stopping:
    """Remembers that somebody asked to stop.

    Args:
        tell: Called with a message when a signal arrives.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell = tell
        self.signal: signal.Signals | None = None
        """The first signal that arrived."""

    @contextlib.contextmanager
    def watching(self) -> Iterator["Stopping"]:
        """Receives signals while the block runs; a second Ctrl-C ends it at once.

        Only the main thread receives signals: elsewhere this does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self._receive) for number in ASKING}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _receive(self, number: int, _: object) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal is None:
            self.signal = signal.Signals(number)
            self.tell(
                f"{self.signal.name}: saving and stopping after this step"
                + (
                    " (Ctrl-C again stops at once)"
                    if self.signal == signal.SIGINT
                    else ""
                )
            )
