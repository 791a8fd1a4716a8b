"""The ways to run traced sizes, by name: for those who need no array library."""

from typing import Literal

Execution = Literal["auto", "masked", "switched", "pallas"]
"""How an operation runs on an `Indexed` extent; see `kernels.dispatch`."""


class ExecutionError(ValueError):
    """An execution that was asked for does not apply; the message says why."""
