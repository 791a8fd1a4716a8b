"""Epochs in shuffled order, each place of which is found without those before."""

import functools
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

if TYPE_CHECKING:
    import grain

ORDER = 3
"""Sets the randomness of the order apart from what is done to examples."""

SMALL = 1 << 16
"""Epochs below this are listed. Grain's cipher works on numbers up to this at least,
and must try again for each that is not below the count."""


def places_of(*, size: int, step: int, rows: slice) -> Int[np.ndarray, " rows"]:
    """Returns which places of an endless sequence of examples a step takes.

    Args:
        size: Examples in every step.
        step: Number of the step, from 0.
        rows: Which of the step's examples are wanted.
    """
    return (step * size + np.arange(size))[rows]


def shuffled(
    places: Int[np.ndarray, " rows"], *, count: int, seed: int
) -> Int[np.ndarray, " rows"]:
    """Returns the example at each place of epochs that follow each other.

    Every epoch has each example once, in an order of its own. In a large one Grain
    computes each place directly (a cipher on the numbers below the count), so that no
    process holds a list of a billion.

    Args:
        places: From the start of the first epoch.
        count: Examples of an epoch.
        seed: Of all orders.
    """
    if count >= SMALL:
        order = _computed(count, seed)
        return np.asarray([order[place] for place in places.tolist()], np.int64)
    epochs, within = np.divmod(places, count)
    found = np.empty_like(places)
    for epoch in np.unique(epochs).tolist():
        here = epochs == epoch
        found[here] = _listed(count, seed, epoch)[within[here]]
    return found


@functools.lru_cache(maxsize=16)
def _computed(count: int, seed: int) -> "grain.MapDataset[int]":
    # Imported here: it loads JAX, and only reading the data needs it.
    import grain

    # Grain adds the epoch to its seed: seeds next to each other would share orders.
    mixed = int(np.random.SeedSequence([seed, ORDER]).generate_state(1)[0])
    return grain.MapDataset.range(count).seed(mixed).shuffle().repeat()


@functools.lru_cache(maxsize=16)
def _listed(count: int, seed: int, epoch: int) -> Int[np.ndarray, " count"]:
    return np.random.default_rng([seed, epoch, ORDER]).permutation(count)
