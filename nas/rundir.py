"""The run directory: everything a run writes, complete or not there at all."""

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from nas.config import Encoded, decode_experiment, differences, encode
from nas.errors import RunError, UsageError
from nas.experiment import Experiment

Json = dict[str, object]

OPEN = ("train.parallel.", "train.reading.", "train.remat", "search.evaluators")
"""Fields that may change at any time: they change no result beyond rounding."""

SCORING = ("search.examples", "search.adversary")
"""Fields of the search that training has used already, and that every score in an
archive depends on."""

LOCK_SECONDS = 20.0
"""How long to wait for the last process of a killed run to be gone."""

TELL_SECONDS = 0.5
"""How long to wait for it without saying so."""


class RunDirectory:
    """Paths and small files of one run.

    Attributes:
        path: The directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.config = self.path / "config.json"
        self.provenance = self.path / "provenance.json"
        self.metrics = self.path / "metrics.jsonl"
        self.panel = self.path / "panel.json"
        self.checkpoints = self.path / "checkpoints"
        self.supernet = self.path / "supernet.safetensors"
        self.device = self.path / "device.json"
        self.devices = self.path / "devices"
        self.archive = self.path / "archive.jsonl"
        self.campaigns = self.path / "campaigns.json"
        self.front = self.path / "front.json"
        self.landmarks = self.path / "landmarks.json"
        self.predictors = self.path / "predictors.json"
        self.subnets = self.path / "subnets"
        self.finetuned = self.path / "finetuned"
        self.report = self.path / "report.html"
        self.picture = self.path / "front.png"
        self.earlier = self.path / "earlier"
        self.stages = self.path / "stages.json"
        self.tune = self.path / "tune"
        self.events = self.path / "tensorboard"
        self.trace = self.path / "profile"
        self.lock_file = self.path / ".lock"

    def checkpoint_steps(self) -> list[int]:
        """Returns the steps of all complete checkpoints, in order."""
        names = (entry.name for entry in self.checkpoints.glob("*"))
        return sorted(int(name) for name in names if name.isdigit())

    def check(self, experiment: Experiment) -> None:
        """Makes sure that the directory is free, or of this experiment.

        The search may be another one: what it needs of the run stays as it is.

        Raises:
            UsageError: If it holds a run of another configuration, results that were
                set aside, or other files.
        """
        whole = self.path.parent.parent
        if self.path.parent == RunDirectory(whole).earlier and self.config.exists():
            raise UsageError(
                f"{self.path} holds the results of an earlier search of {whole}; "
                "search that directory, or compare both with `nas report DIR DIR`"
            )
        if self.config.exists():
            if changed := self._fixed(experiment):
                raise UsageError(
                    f"{self.path} holds a run of another configuration:\n  "
                    + "\n  ".join(changed)
                    + "\nGo back to the old values to resume it, or give another --out."
                )
            return
        if self.path.exists() and any(
            entry.name != self.lock_file.name for entry in self.path.iterdir()
        ):
            raise UsageError(
                f"{self.path} holds files but no run (config.json is missing); "
                "give an empty or new --out"
            )

    def _changed(self, experiment: Experiment) -> list[str]:
        """Returns the fields that differ and matter to what was already done.

        On which devices a training goes on, and who reads ahead for it, does not.
        """
        if not self.config.exists():
            return []
        return [
            line
            for line in differences(self.read_config(), encode(experiment))
            if not line.startswith(OPEN)
        ]

    def _fixed(self, experiment: Experiment) -> list[str]:
        """Returns the fields that differ and may not."""
        return [line for line in self._changed(experiment) if not _searching(line)]

    def search_changes(self, experiment: Experiment) -> list[str]:
        """Returns the fields that ask for another search than was done here.

        None of them changes what a score means, so the archive keeps its worth.
        """
        return [line for line in self._changed(experiment) if _searching(line)]

    def claim(self, experiment: Experiment) -> None:
        """Makes the directory that of an experiment; see :meth:`check`."""
        self.check(experiment)
        encoded = encode(experiment)
        if not self.config.exists() or self.read_config() != encoded:
            write_json(self.config, encoded)

    def read_config(self) -> Encoded:
        """Returns the stored configuration."""
        return _parse(self.config)

    def experiment(self) -> Experiment:
        """Returns the experiment of this run, or raises `UsageError`."""
        if not self.config.exists():
            raise UsageError(f"{self.path} is not a run directory: no config.json")
        return decode_experiment(self.read_config())

    @contextlib.contextmanager
    def locked(self, tell: Callable[[str], None] | None = None) -> Iterator[int]:
        """Holds the directory against other processes; gives the lock's descriptor.

        A child process that inherits the descriptor keeps the lock while it lives, so
        no new run starts beside what is left of a killed one.

        Args:
            tell: Told once if another process has to be waited for.

        Raises:
            RunError: If another process holds it for longer than `LOCK_SECONDS`.
            UsageError: If there can be no such directory.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = self.lock_file.open("a")
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            raise UsageError(
                f"{self.path} cannot be a run directory ({error}); give another --out"
            ) from error
        with file:
            began = time.monotonic()
            while not _lock(file):
                waited = time.monotonic() - began
                if waited > LOCK_SECONDS:
                    raise RunError(
                        f"another process is working in {self.path}; wait for it or "
                        "stop it, then run the same command again"
                    )
                # What is left of a killed run is gone in no time.
                if tell is not None and waited > TELL_SECONDS:
                    tell(
                        f"another process is working in {self.path}; waiting up to "
                        f"{LOCK_SECONDS:.0f} s for it to end"
                    )
                    tell = None
                time.sleep(0.1)
            yield file.fileno()

    def finished(self) -> dict[str, float]:
        """Returns the finished stages and the seconds each took."""
        if not self.stages.exists():
            return {}
        stored = _parse(self.stages)
        if not isinstance(stored, dict):
            raise RunError(f"{self.stages} is damaged; remove it to run again")
        return {name: float(str(seconds)) for name, seconds in stored.items()}

    def finish(self, stage: str, seconds: float) -> None:
        """Records that a stage is complete."""
        write_json(self.stages, {**self.finished(), stage: round(seconds, 3)})


def _searching(line: str) -> bool:
    """Says whether a difference is one of the search alone."""
    return line.startswith("search.") and not line.startswith(SCORING)


def _lock(file: IO[str]) -> bool:
    """Says whether this process holds the lock now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_json(path: Path, value: object) -> None:
    """Writes a JSON file whole: after a crash it is the old or the new one."""
    write_bytes(path, (json.dumps(value, indent=1) + "\n").encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file whole and durably, through a temporary file beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_json(path: Path) -> Json:
    """Returns a stored JSON object, or raises `RunError` naming the file."""
    value = _parse(path)
    if not isinstance(value, dict):
        raise RunError(f"{path} should hold a JSON object")
    return dict(value)


def _parse(path: Path) -> Encoded:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise RunError(f"{path} is missing") from None
    # Not only of JSON: bytes that are no text at all are a ValueError too.
    except ValueError as error:
        raise RunError(
            f"{path} is damaged ({error}); remove it and run the same command again"
        ) from error


def append_json_line(path: Path, value: Json) -> None:
    """Appends one JSON line."""
    append_json_lines(path, [value])


def append_json_lines(path: Path, values: Sequence[Json]) -> None:
    """Appends JSON lines: all of them, or none if the disk is full.

    Raises:
        OSError: If they cannot be written.
    """
    content = "".join(json.dumps(value) + "\n" for value in values).encode()
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        try:
            written = file.write(content)
            if written < len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        except OSError:
            # A line that is half there would spoil the one after it.
            file.truncate(before)
            raise


def read_json_lines(path: Path) -> list[Json]:
    """Returns the complete lines of a JSON-lines file; a torn last one is left out.

    Raises:
        RunError: If a line is damaged, naming it.
    """
    if not path.exists():
        return []
    values = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            values.append(json.loads(line))
        except ValueError as error:
            raise RunError(f"{path}, line {number} is damaged ({error})") from error
    return values


def short_path(path: Path) -> Path:
    """Returns the path relative to the working directory where it lies below it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
