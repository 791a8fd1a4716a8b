"""Processes of their own that drive Ray, because it forks and JAX does not bear that.

A driver is a module that is run as ``python -m MODULE DIR ARGUMENTS`` and imports
nothing of JAX before Ray has started.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence

from nas.errors import RunError, UsageError
from nas.ray_session import with_defaults
from nas.stages.context import Context

FAILED, INTERRUPTED = 1, 130

PR_SET_PDEATHSIG = 1


def run_driver(module: str, context: Context, *arguments: str) -> None:
    """Runs a driver on a run directory, and waits for it.

    Raises:
        RunError: If it failed.
    """
    line = [sys.executable, "-m", module, str(context.run.path), *arguments]
    process = subprocess.Popen(
        line,
        pass_fds=(context.lock,),
        # Given at birth, because Ray reads some of it while it is imported.
        env=with_defaults(os.environ),
    )
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code != 0:
        raise RunError(
            f"{module} ended with code {code} (its message is above); what was "
            "finished is kept: run the same command again to go on"
        )


def drive(main: Callable[[Sequence[str]], None]) -> None:
    """Runs a driver in its process, and ends that with the code of what happened."""
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (RunError, UsageError) as error:
        # For a person; anything else was not foreseen, and its trace is wanted.
        print(f"nas: {error}", file=sys.stderr)  # noqa: T201 - its message is ours
        sys.exit(FAILED)


def end_with_parent() -> None:
    """Asks the kernel to end this process when the one that started it dies.

    A killed run must not leave a driver behind that still writes its directory. Where
    the kernel has no such call, the inherited lock still keeps a second run away.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
