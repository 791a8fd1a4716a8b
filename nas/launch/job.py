"""A run to be started elsewhere, and how it is handed over."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

from nas.errors import RunError, UsageError
from nas.launch.options import LaunchOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What is to run.

    Attributes:
        target: The recipe, a module or a file.
        arguments: All that follows it on the line, as for `nas run`.
        out: Run directory among them, if it is given.
        name: Of the job.
        options: Where it runs.
    """

    target: str
    arguments: tuple[str, ...]
    out: Path | None
    name: str
    options: LaunchOptions

    @property
    def line(self) -> tuple[str, ...]:
        """The command that does the run."""
        return ("python", "-m", "nas", "run", self.target, *self.arguments)

    def with_arguments(self, *arguments: str) -> "Job":
        """Returns the job with more at the end of its line."""
        return dataclasses.replace(self, arguments=(*self.arguments, *arguments))

    @property
    def is_file(self) -> bool:
        """Whether the recipe is a file, and not a module of an installed package."""
        return self.target.endswith(".py")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Submission:
    """How a job is handed over.

    Attributes:
        text: What a person reads: the command, the manifest or the script.
        line: The command that hands it over.
        given: What that command reads from its input; ``None`` for nothing.
        then: How to follow the job, told once it is handed over.
    """

    text: str
    line: tuple[str, ...]
    given: str | None = None
    then: str = ""

    def send(self) -> None:
        """Runs the command.

        Raises:
            UsageError: If this machine does not have it.
            RunError: If it fails.
        """
        command, *arguments = self.line
        # That of this environment first, which need not be on the search path.
        found = shutil.which(Path(sys.executable).with_name(command)) or shutil.which(
            command
        )
        if found is None:
            raise UsageError(
                f"there is no `{command}` on this machine: launch from one that has "
                "it, or take what --dry-run prints there"
            )
        done = subprocess.run([found, *arguments], input=self.given, text=True)
        if done.returncode:
            raise RunError(
                f"`{command}` ended with code {done.returncode} (its message is above)"
            )
