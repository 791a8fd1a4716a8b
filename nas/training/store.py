"""Copies of checkpoints in another place, as a bucket: a training goes on from there.

A store is any place that fsspec knows (``s3://``, ``gs://``, ``file://`` ...). In it:

====================  ==============================================================
``config.json``       of the run
``STEP/``             a checkpoint, as it lies in the run directory
``STEP.jsonl``        the training log until then
``STEP.json``         written last: without it, the checkpoint is not complete
====================  ==============================================================
"""

import json
import queue
import shutil
import threading
import time
from pathlib import Path

import fsspec

from nas.checkpoints import KEEP, Warn
from nas.config import differences
from nas.errors import UsageError
from nas.rundir import RunDirectory

WAIT_SECONDS = 600.0
"""How long a checkpoint may take to be written before it is no longer waited for."""

POLL_SECONDS = 0.1


class Store:
    """The copies of one run's checkpoints.

    Copies are made in the background. One that fails is told; the next tries again.

    Args:
        url: Where they lie.
        run: Whose they are.
        warn: Called with a message when a copy fails.

    Raises:
        UsageError: If fsspec does not know such a place, or cannot reach it.
    """

    def __init__(self, url: str, run: RunDirectory, *, warn: Warn) -> None:
        self.url, self.run, self.warn = url.rstrip("/"), run, warn
        try:
            self._files, self._root = fsspec.url_to_fs(self.url)
            self._files.makedirs(self._root, exist_ok=True)
        # What a file system raises that is not there differs from one to another.
        except Exception as error:
            raise UsageError(
                f"--store {url} cannot be used ({type(error).__name__}: {error}); give "
                "a URL that fsspec can open, with its package installed"
            ) from error
        self._steps: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._copier = threading.Thread(target=self._copy_all, name="store")

    def fetch(self) -> int | None:
        """Brings the newest copy here, unless the run has checkpoints of its own.

        Returns:
            Its step, or ``None`` if nothing was brought.

        Raises:
            UsageError: If the store is of another configuration.
        """
        if self.run.checkpoint_steps() or not (steps := self._complete()):
            return None
        theirs = json.loads(self._files.cat_file(f"{self._root}/config.json"))
        if changed := differences(theirs, self.run.read_config()):
            raise UsageError(
                f"{self.url} holds checkpoints of another configuration:\n  "
                + "\n  ".join(changed)
            )
        step = max(steps)
        arriving = self.run.checkpoints / f".{step}.arriving"
        shutil.rmtree(arriving, ignore_errors=True)
        arriving.parent.mkdir(parents=True, exist_ok=True)
        self._files.get(f"{self._root}/{step}/", f"{arriving}/", recursive=True)
        self._files.get_file(f"{self._root}/{step}.jsonl", str(self.run.metrics))
        arriving.rename(self.run.checkpoints / str(step))
        return step

    def __enter__(self) -> "Store":
        """Begins to copy what `add` is told."""
        self._copier.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Waits until everything is copied."""
        self._steps.put(None)
        self._copier.join()

    def add(self, step: int) -> None:
        """Asks for a copy of a checkpoint, once it is complete."""
        self._steps.put(step)

    def _copy_all(self) -> None:
        while (step := self._steps.get()) is not None:
            try:
                if self._written(step):
                    self._copy(step)
            # Whatever it is, it must neither end the training nor go unsaid.
            except Exception as error:
                self.warn(
                    f"checkpoint of step {step} could not be copied to {self.url} "
                    f"({type(error).__name__}: {error}); training goes on, and the "
                    "next one is tried"
                )

    def _written(self, step: int) -> bool:
        """Waits for a checkpoint to be complete; it may never be, on a full disk."""
        deadline = time.monotonic() + WAIT_SECONDS
        folder = self.run.checkpoints / str(step)
        while not folder.is_dir():
            given_up = not self._steps.empty() or time.monotonic() > deadline
            if given_up:
                return folder.is_dir()
            time.sleep(POLL_SECONDS)
        return True

    def _copy(self, step: int) -> None:
        files, root = self._files, self._root
        files.makedirs(root, exist_ok=True)
        files.put_file(str(self.run.config), f"{root}/config.json")
        source = self.run.checkpoints / str(step)
        for path in source.rglob("*"):
            if path.is_file():
                target = f"{root}/{step}/{path.relative_to(source).as_posix()}"
                files.makedirs(target.rpartition("/")[0], exist_ok=True)
                files.put_file(str(path), target)
        files.put_file(str(self.run.metrics), f"{root}/{step}.jsonl")
        files.pipe_file(f"{root}/{step}.json", json.dumps({"step": step}).encode())
        for old in sorted(self._complete())[:-KEEP]:
            # First the mark: what is half removed must not count.
            for name in (f"{old}.json", f"{old}.jsonl", str(old)):
                files.rm(f"{root}/{name}", recursive=True)

    def _complete(self) -> list[int]:
        names = (Path(str(path)) for path in self._files.glob(f"{self._root}/*.json"))
        return [int(path.stem) for path in names if path.stem.isdigit()]
