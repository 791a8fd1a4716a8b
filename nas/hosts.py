"""Several processes that train one supernet together, on one machine or many."""

import contextlib
import dataclasses
from collections.abc import Iterator

from nas.errors import RunError, UsageError

HEARTBEAT_SECONDS = 30
"""After how long without a sign of life a process counts as gone."""

DETECTED = "auto"
"""Instead of an address: ask Slurm, Open MPI, Kubernetes or the TPU."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hosts:
    """The processes of a training, and which of them this one is.

    The first writes the run directory; all of them take part in checkpoints.
    """

    index: int = 0
    """Number of this process, from 0."""
    count: int = 1
    """How many there are."""

    @property
    def first(self) -> bool:
        """Whether this process speaks to people and writes files."""
        return self.index == 0

    def meet(self, what: str) -> None:
        """Waits until all processes are here.

        Args:
            what: A name for the place, the same in all of them.
        """
        if self.count > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices(what)

    def part_ways(self) -> None:
        """Ends what the processes have in common, once all of them are here."""
        if self.count > 1:
            import jax

            jax.distributed.shutdown()

    def highest(self, value: int) -> int:
        """Returns the highest of the values that the processes give, to all of them."""
        if self.count == 1:
            return value
        import numpy as np
        from jax.experimental import multihost_utils

        values: np.ndarray = multihost_utils.process_allgather(np.asarray(value))
        return int(values.max())

    @contextlib.contextmanager
    def noticing_losses(self, kept: str) -> Iterator[None]:
        """Explains what is raised in the block when another process has gone away.

        Args:
            kept: Where the last checkpoint is.

        Raises:
            RunError: If a process was lost.
        """
        try:
            yield
        # A lost connection is a ValueError on a CPU, a JaxRuntimeError elsewhere.
        except (ValueError, RuntimeError) as error:
            if self.count == 1 or not _is_loss(error):
                raise
            raise RunError(
                f"another process of this training is gone ({_first_line(error)}); "
                f"start all {self.count} again with the same commands, and they go on "
                f"from the last complete checkpoint in {kept}"
            ) from error


ALONE = Hosts()
"""One process trains."""

SIGNS = ("Gloo", "NCCL", "UNAVAILABLE", "heartbeat", "Connection", "coordination")
"""Words of the errors that collectives raise when a process is gone."""


def _is_loss(error: Exception) -> bool:
    return any(sign in str(error) for sign in SIGNS)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def join(coordinator: str | None, processes: int | None, process: int | None) -> Hosts:
    """Joins the other processes of a training; must come before anything of JAX.

    Args:
        coordinator: ``HOST:PORT`` of the first process, which listens there; "auto" to
            ask the cluster; ``None`` for a process that trains alone.
        processes: How many there are; known to the cluster with "auto".
        process: Number of this one, from 0; likewise.

    Raises:
        UsageError: If the options do not go together, or the others cannot be found.
    """
    if coordinator is None:
        if processes is not None or process is not None:
            raise UsageError(
                "--processes and --process need --coordinator HOST:PORT, the address "
                "of the first process, or --coordinator auto to ask the cluster"
            )
        return ALONE
    detected = coordinator == DETECTED
    if not detected and (processes is None or process is None):
        raise UsageError(
            f"--coordinator {coordinator} needs --processes, how many there are, and "
            "--process, the number of this one from 0"
        )
    if processes is not None and not 0 <= (process or 0) < processes:
        raise UsageError(f"--process is {process}: it must lie in 0..{processes - 1}")
    import jax

    try:
        jax.distributed.initialize(
            None if detected else coordinator,
            processes,
            process,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except (ValueError, RuntimeError) as error:
        raise UsageError(
            f"the processes of this training did not find each other "
            f"({_first_line(error)}); give --coordinator HOST:PORT, --processes and "
            "--process to each of them"
        ) from error
    return Hosts(index=jax.process_index(), count=jax.process_count())
