"""Training checkpoints through Orbax: asynchronous, atomic, newest complete first."""

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from supernets.training import TrainState

KEEP = 2
"""Checkpoints kept: the newest, and one to fall back on."""

STATE = "state"
"""The one item of a checkpoint. Named, or Orbax takes the newest directory's layout for
that of all and refuses whole checkpoints where that one is damaged."""

Warn = Callable[[str], None]


class Checkpoints:
    """The checkpoints of one run.

    Args:
        directory: Where they lie.
        warn: Called with a message when a damaged checkpoint is passed over.
    """

    def __init__(self, directory: Path, *, warn: Warn) -> None:
        self.directory = directory
        self.warn = warn
        options = ocp.CheckpointManagerOptions(max_to_keep=KEEP, create=True)
        self._quiet = contextlib.ExitStack()
        self._quiet.enter_context(_quiet())
        self.manager = ocp.CheckpointManager(
            directory, options=options, item_names=(STATE,)
        )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def save(self, step: int, state: TrainState) -> None:
        """Starts to write the state after a step; it counts once it is complete."""
        item = {STATE: ocp.args.StandardSave(_named(state))}
        with _interrupts_held():
            self.manager.save(step, args=ocp.args.Composite(**item))

    def restore(self, template: TrainState) -> tuple[int, TrainState] | None:
        """Returns the newest complete checkpoint, or ``None`` if there is none.

        One that cannot be read is passed over with a warning and removed.

        Args:
            template: A state of the same run, for structure, shapes and types.
        """
        shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, _named(template))
        item = {STATE: ocp.args.StandardRestore(shapes)}
        for step in sorted(self.manager.all_steps(), reverse=True):
            try:
                restored = self.manager.restore(step, args=ocp.args.Composite(**item))
                leaves = [restored[STATE][name] for name in _named(template)]
            # Orbax raises whatever its storage layer meets in a damaged file.
            except Exception as error:
                self.warn(
                    f"checkpoint of step {step} in {self.directory} is damaged and "
                    f"was passed over ({_reason(error)})"
                )
                self.manager.delete(step)
                continue
            return step, jax.tree.unflatten(jax.tree.structure(template), leaves)
        return None

    def close(self) -> None:
        """Waits until everything is written."""
        with self._quiet, _interrupts_held():
            self.manager.wait_until_finished()
            self.manager.close()


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
