"""What the architecture learns from: nothing that subnets are evaluated on.

It must not learn from the examples by which its subnets are then compared with those of
other algorithms. Nor should it from those that the weights were trained on, which large
subnets know by heart. So it learns from the rest of the search split. Where all of that
is evaluated on, the training split is left, from where training stopped.
"""

import dataclasses
import math
from operator import itemgetter

import jax
import numpy as np
from jaxtyping import Bool

from nas.data.dataset import Dataset, Examples
from nas.data.epochs import places_of, shuffled

POOL = 16
"""Batches of other examples that are read, at most; they come again in epochs."""

RUN = 4
"""A window that holds such a part of an evaluated one in a row is not another."""


@dataclasses.dataclass(frozen=True)
class ArchitectureExamples:
    """Batches of a search by gradient; a pure function of seed and step.

    Attributes:
        data: Where they come from.
        size: Examples of a batch.
        pool: Those of the search split that nothing is evaluated on; none if there are
            fewer than a batch.
        trained: Steps of the training, whose examples are not taken again.
    """

    data: Dataset
    size: int
    pool: Examples | None
    trained: int

    def __call__(self, step: int, *, seed: int) -> Examples:
        """Returns the examples of a step.

        Args:
            step: Its number, from 0.
            seed: Of their order.
        """
        if self.pool is None:
            return self.data.batch(size=self.size, seed=seed, step=self.trained + step)
        places = places_of(size=self.size, step=step, rows=slice(None))
        return _rows(
            self.pool, shuffled(places, count=len(self.pool.inputs), seed=seed)
        )


def architecture_examples(
    data: Dataset, *, evaluated: int, size: int, trained: int
) -> ArchitectureExamples:
    """Returns where the architecture of a run learns from.

    Args:
        data: Of the run.
        evaluated: Examples of the search split that subnets are evaluated on.
        size: Examples of a batch.
        trained: Steps of the training.
    """
    judged = data.fixed("search", evaluated)
    # Of a multiple, so that windows that are spread evenly fall between those.
    gaps = max(len(judged.inputs) - 1, 1)
    count = gaps * (1 + math.ceil(POOL * size / gaps)) + 1
    every = data.fixed("search", count)
    rest = _rows(every, np.flatnonzero(~_known(every.inputs, judged.inputs)))
    pool = rest if len(rest.inputs) >= size else None
    return ArchitectureExamples(data, size, pool, trained)


def _known(inputs: np.ndarray, judged: np.ndarray) -> Bool[np.ndarray, " examples"]:
    """Says which inputs are judged ones; of windows, which hold a part of one."""
    rows = [row.tobytes() for row in inputs]
    if judged.ndim > 2:
        whole = {row.tobytes() for row in judged}
        return np.asarray([row in whole for row in rows], bool)
    length = max(judged.shape[1] // RUN, 1)
    parts = {
        row[start : start + length].tobytes()
        for row in judged
        for start in range(0, judged.shape[1] - length + 1, length)
    }
    return np.asarray([any(part in row for part in parts) for row in rows], bool)


def _rows(examples: Examples, rows: np.ndarray) -> Examples:
    inputs, targets = jax.tree.map(itemgetter(rows), tuple(examples))
    return Examples(inputs, targets)
