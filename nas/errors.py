"""Errors with an exit code: what a command ends with when it cannot go on."""


class UsageError(ValueError):
    """The request is wrong; nothing was changed. Exit code 2."""


class RunError(RuntimeError):
    """The run cannot go on, and the message says what to do. Exit code 1."""


class Stopped(Exception):
    """A signal ended the run where it can go on. Exit code 128 + the signal's number.

    Args:
        message: What was kept.
        number: Of the signal.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.code = 128 + number
