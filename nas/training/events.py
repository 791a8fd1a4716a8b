"""The training log as events for TensorBoard."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from nas.errors import UsageError
from nas.rundir import Json


class EventWriter:
    """Writes the numbers of every line of a training log; see `TrainingLog`.

    Args:
        directory: Where event files go, one for each process that trains.

    Raises:
        UsageError: If tensorboardX is not installed.
    """

    def __init__(self, directory: Path) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise UsageError(
                "--tensorboard needs the package tensorboardX: install nas-jax with "
                "the extra `tensorboard`"
            ) from None
        self._writer = SummaryWriter(str(directory), flush_secs=10)

    def __call__(self, line: Json) -> None:
        """Writes one line."""
        step = int(str(line["step"]))
        for name, value in _numbers(line):
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Writes what is waiting."""
        self._writer.close()


def _numbers(
    line: Mapping[str, object], within: str = ""
) -> Iterator[tuple[str, float]]:
    """Yields every number of a line under its path, as ``training/largest``."""
    for name, value in line.items():
        path = f"{within}/{name}" if within else name
        if isinstance(value, Mapping):
            yield from _numbers(value, path)
        elif isinstance(value, float):
            yield path, value
