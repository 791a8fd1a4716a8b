"""Errors with an exit code: what a command ends with when it cannot go on."""


class UsageError(ValueError):
    """The request is wrong; nothing was changed. Exit code 2."""


class RunError(RuntimeError):
    """The run cannot go on, and the message says what to do. Exit code 1."""
