"""The batches of a training, made in advance by threads or processes of Grain."""

import signal
from collections.abc import Callable, Iterator

import grain
import jax
import numpy as np
from absl import flags

from nas.data.dataset import Dataset, Examples
from nas.data.reading import Reading
from nas.errors import RunError

STEP = "step"
"""What the position of a feed is saved as."""

DEAD = "terminated unexpectedly"
"""Of Grain's message that a worker is gone."""


class Feed(Iterator[tuple[int, Examples]]):
    """Goes through the steps of a training and gives each its examples.

    The examples of a step are a function of the step alone, so neither threads nor
    workers change them, and the number of the next step is all there is to save. (What
    Grain itself saves depends on how many workers there are.)

    A failure while a batch is made is raised when that batch is asked for, as what it
    was, and ends the feed.

    Args:
        data: What is read.
        sizes: Gives the examples of a step, of all hosts together. With workers it is
            sent to them, so it should hold nothing but numbers.
        seed: Of the order of examples.
        steps: How many there are.
        part: This host's number, from 0, and how many hosts share each step: each gets
            contiguous rows, in the order of the hosts.
        options: How much is made in advance.

    Raises:
        ValueError: If the part is none, or hosts do not divide the size of a step.
    """

    def __init__(
        self,
        data: Dataset,
        sizes: Callable[[int], int],
        *,
        seed: int,
        steps: int,
        part: tuple[int, int] = (0, 1),
        options: Reading,
    ) -> None:
        host, hosts = part
        if not 0 <= host < hosts:
            raise ValueError(
                f"part must be (host, hosts) with host < hosts, got {part}"
            )
        self._source = _Steps(data, sizes, seed, steps, part)
        self._options = options
        self._next = 0
        self._batches = self._from(0)

    def __next__(self) -> tuple[int, Examples]:
        """Returns the next step's number and its examples, or this host's part.

        Raises:
            RunError: If a worker is dead.
            ValueError: If the feed is closed.
        """
        if self._next == len(self._source):
            self.close()
            raise StopIteration
        if self._batches is None:
            raise ValueError("this feed is closed; restore a state to go on")
        try:
            examples = next(self._batches)
        except BaseException as error:
            # After a failure Grain would go on with another batch than the next.
            self.close()
            if isinstance(error, RuntimeError) and DEAD in str(error):
                raise RunError(
                    f"a process that makes batches ended before step {self._next} "
                    f"({error}). If memory ran out, use fewer workers or make fewer "
                    "batches ahead; run the same command again to go on"
                ) from error
            raise
        if self._options.workers:
            examples = jax.tree.map(_own, examples)
        step, self._next = self._next, self._next + 1
        return step, examples

    def state(self) -> dict[str, int]:
        """Returns the position as plain JSON: which step comes next."""
        return {STEP: self._next}

    def restore(self, state: dict[str, int]) -> None:
        """Goes to a position that :meth:`state` gave, of this feed or one alike.

        Raises:
            ValueError: If it is no position, or of a longer training.
        """
        step = state.get(STEP)
        if not isinstance(step, int):
            raise ValueError(f"a feed's state is {{'{STEP}': number}}, got {state}")
        self.skip_to(step)

    def skip_to(self, step: int) -> None:
        """Goes to a step, forwards or back; nothing in between is read.

        Raises:
            ValueError: If there is no such step.
        """
        if not 0 <= step <= len(self._source):
            raise ValueError(f"step must lie in 0..{len(self._source)}, got {step}")
        self.close()
        self._next = step
        self._batches = self._from(step)

    def close(self) -> None:
        """Stops reading ahead and ends its threads and processes."""
        if self._batches is not None:
            self._batches.close()
            self._batches = None

    def _from(self, step: int) -> grain.DatasetIterator[Examples] | None:
        """Returns an iterator over the batches from a step on."""
        options = self._options
        left = grain.MapDataset.source(self._source).slice(slice(step, None))
        batches = left.to_iter_dataset(
            grain.ReadOptions(
                # More would have nothing to do, of which Grain warns.
                num_threads=min(options.threads, options.ahead),
                prefetch_buffer_size=options.ahead,
            )
        )
        if options.workers:
            # Grain asks for command line flags here, and no command of ours has any.
            if not flags.FLAGS.is_parsed():
                flags.FLAGS.mark_as_parsed()
            processes = grain.MultiprocessingOptions(
                num_workers=options.workers,
                per_worker_buffer_size=max(1, options.ahead),
            )
            batches = batches.mp_prefetch(processes, _leave_interrupts)
        return iter(batches)


class _Steps:
    """The batches of all steps, each made when it is looked up."""

    def __init__(
        self,
        data: Dataset,
        sizes: Callable[[int], int],
        seed: int,
        steps: int,
        part: tuple[int, int],
    ) -> None:
        self._data, self._sizes, self._seed = data, sizes, seed
        self._steps, self._part = steps, part
        if steps:
            rows_of(part, sizes(0))

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> Examples:
        size = self._sizes(index)
        rows = rows_of(self._part, size)
        return self._data.batch(size=size, seed=self._seed, step=index, rows=rows)


def _leave_interrupts(worker: int, workers: int) -> None:  # noqa: ARG001 - Grain's
    """Lets this process alone be interrupted, which then ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _own(array: np.ndarray) -> np.ndarray:
    """Returns a copy that outlives the memory that is shared with a worker."""
    return np.array(array)


def rows_of(part: tuple[int, int], size: int) -> slice:
    """Returns which examples of a step a host gets.

    >>> rows_of((1, 4), 32)
    slice(8, 16, None)

    Args:
        part: The host's number, from 0, and how many there are.
        size: Examples of the step, of all hosts together.

    Raises:
        ValueError: If the hosts do not divide the size.
    """
    host, hosts = part
    each, left = divmod(size, hosts)
    if left or not each:
        below, above = each * hosts, (each + 1) * hosts
        fits = f"{below} or {above}" if below else f"{above}"
        raise ValueError(
            f"a step of {size} examples cannot be shared evenly by {hosts} hosts; "
            f"{fits} could"
        )
    return slice(host * each, (host + 1) * each)
