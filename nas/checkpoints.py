"""Training checkpoints through Orbax: asynchronous, atomic, newest complete first."""

import contextlib
import logging
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from supernets.training import TrainState

KEEP = 2
"""Newest checkpoints kept: one, and another to fall back on. The best stays besides."""

STATE, NOTES = "state", "notes"
"""The items of a checkpoint. Named, or Orbax takes the newest directory's layout for
that of all and refuses whole checkpoints where that one is damaged."""

Notes = dict[str, Any]
"""What is kept with a state: any JSON."""

UNFINISHED = "*.orbax-checkpoint-tmp"
"""What Orbax calls a checkpoint until it is complete."""

FAILURES = (OSError, ValueError, RuntimeError)
"""What storage raises: the file system, TensorStore, and the threads of Orbax."""

Warn = Callable[[str], None]


class Restored(NamedTuple):
    """A checkpoint that was read.

    Attributes:
        step: How many steps are done.
        state: After them.
        notes: As they were given.
    """

    step: int
    state: TrainState
    notes: Notes


class Checkpoints:
    """The checkpoints of one run.

    A checkpoint that cannot be written, because the disk is full or the path is gone,
    is told and survived: training goes on, and the next one tries again.

    Args:
        directory: Where they lie.
        warn: Called with a message when a checkpoint is damaged or cannot be written.
        saved: Called with every step whose checkpoint is begun.
    """

    def __init__(
        self,
        directory: Path,
        *,
        warn: Warn,
        saved: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.directory = directory
        self.warn, self.saved = warn, saved
        self._scores: dict[int, float] = {}
        self._quiet = contextlib.ExitStack()
        self._quiet.enter_context(_quiet())
        self.manager = self._open()
        for step in self.manager.all_steps():
            self._learn_score(step)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def best(self) -> int | None:
        """The step of the checkpoint with the lowest score, if any has one."""
        kept = [step for step in self.manager.all_steps() if step in self._scores]
        return min(kept, key=self._scores.__getitem__, default=None)

    def save(
        self,
        step: int,
        state: TrainState,
        *,
        notes: Notes | None = None,
        score: float | None = None,
    ) -> None:
        """Starts to write the state after a step; it counts once it is complete.

        Args:
            step: How many steps are done.
            state: After them.
            notes: Kept with it.
            score: How bad it is, as a validation loss: the lowest is never removed.
        """
        kept = {"notes": notes or {}, "score": score}
        items = ocp.args.Composite(
            **{
                STATE: ocp.args.StandardSave(_named(state)),
                NOTES: ocp.args.JsonSave(kept),
            }
        )
        if score is not None:
            self._scores[step] = score
        with _interrupts_held():
            if not self._survived(lambda: self.manager.save(step, args=items)):
                # What failed may have been the write of the checkpoint before.
                self._survived(lambda: self.manager.save(step, args=items))
        self.saved(step)

    def restore(self, template: TrainState) -> Restored | None:
        """Returns the newest complete checkpoint, or ``None`` if there is none.

        One that cannot be read is passed over with a warning and removed.

        Args:
            template: A state of the same run, for structure, shapes, types and places.
        """
        for step in sorted(self.manager.all_steps(), reverse=True):
            if (restored := self._read(step, template)) is not None:
                return restored
        return None

    def restore_best(self, template: TrainState) -> Restored | None:
        """Returns the checkpoint with the lowest score, or ``None`` without scores."""
        self.wait()
        best = self.best
        return None if best is None else self._read(best, template)

    def wait(self) -> int:
        """Waits until everything is written; returns the newest step, 0 for none."""
        with _interrupts_held():
            self._survived(self.manager.wait_until_finished)
        return self.manager.latest_step() or 0

    def close(self) -> None:
        """Waits until everything is written."""
        with self._quiet:
            self.wait()
            self.manager.close()

    def _read(self, step: int, template: TrainState) -> Restored | None:
        shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, _named(template))
        items = ocp.args.Composite(
            **{
                STATE: ocp.args.StandardRestore(shapes),
                NOTES: ocp.args.JsonRestore(),
            }
        )
        try:
            restored = self.manager.restore(step, args=items)
            leaves = [restored[STATE][name] for name in _named(template)]
            notes = restored[NOTES]["notes"]
        # Orbax raises whatever its storage layer meets in a damaged file.
        except Exception as error:
            self.warn(
                f"checkpoint of step {step} in {self.directory} is damaged and "
                f"was passed over ({_reason(error)})"
            )
            self.manager.delete(step)
            return None
        state = jax.tree.unflatten(jax.tree.structure(template), leaves)
        return Restored(step, state, notes)

    def _learn_score(self, step: int) -> None:
        """Remembers how good a checkpoint of an earlier process is."""
        items = ocp.args.Composite(**{NOTES: ocp.args.JsonRestore()})
        # A damaged one has no score; reading its state will tell about it.
        with contextlib.suppress(Exception):
            score = self.manager.restore(step, args=items)[NOTES]["score"]
            if score is not None:
                self._scores[step] = float(score)

    def _open(self) -> ocp.CheckpointManager:
        if jax.process_index() == 0:
            # What failed or was killed as it was written is of no use to anybody.
            for left in self.directory.glob(UNFINISHED):
                shutil.rmtree(left, ignore_errors=True)
        options = ocp.CheckpointManagerOptions(
            create=True, preservation_policy=_Kept(self._scores)
        )
        return ocp.CheckpointManager(
            self.directory, options=options, item_names=(STATE, NOTES)
        )

    def _survived(self, write: Callable[[], object]) -> bool:
        """Returns whether a write went well; if not, says so and starts afresh."""
        # Where several processes write one checkpoint, all must fail alike.
        failures = FAILURES if jax.process_count() == 1 else ()
        try:
            write()
        except failures as error:
            self.warn(
                f"a checkpoint could not be written to {self.directory} "
                f"({_reason(error)}); training goes on, and the next checkpoint tries "
                "again"
            )
            with contextlib.suppress(*FAILURES):
                self.manager.close()
            self.manager = self._open()
            return False
        return True


class _Kept(checkpoint_managers.PreservationPolicy):
    """Keeps the newest and the best.

    Args:
        scores: Of those that have one.
    """

    def __init__(self, scores: Mapping[int, float]) -> None:
        self.scores = scores

    def should_preserve(
        self,
        # Orbax gives a protocol that cannot be checked at run time.
        checkpoints: Sequence[Any],
        **_: object,
    ) -> Sequence[bool]:
        steps = [checkpoint.step for checkpoint in checkpoints]
        scored = [step for step in steps if step in self.scores]
        kept = {*steps[-KEEP:], *sorted(scored, key=self.scores.__getitem__)[:1]}
        return [step in kept for step in steps]


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Delivers Ctrl-C after the block.

    Orbax forgets a write that is cut off as it starts: its thread would go on unawaited
    and fail while the interpreter shuts down.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held = False

    def hold(*_: object) -> None:
        nonlocal held
        held = True

    before = signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        signal.raise_signal(signal.SIGINT)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps pages of traces off the screen: what went wrong is told in one line."""
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


def _reason(error: BaseException) -> str:
    """Returns the first line of what an error comes from."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _named(state: TrainState) -> dict[str, jax.Array | np.ndarray]:
    flat, _ = jax.tree_util.tree_flatten_with_path(state)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): v for path, v in flat
    }
