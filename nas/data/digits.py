"""Handwritten digits that come with scikit-learn: 1797 images of 8 x 8 pixels."""

import dataclasses
import functools
import hashlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from nas.data.dataset import EVERY, Examples, Split

CLASSES = 10
SIDE = 8
BRIGHTEST = 16.0
"""Pixels are stored as counts from 0 to this; here they are scaled to [0, 1]."""

SHARES: tuple[tuple[Split, float], ...] = (("train", 0.6), ("search", 0.2))
"""Share of each class in a split; the rest is for testing."""

SPLIT_NUMBERS: dict[Split, int] = {"train": 0, "search": 1, "test": 2}
"""Sets the randomness of what is made of a split's images apart for each split."""

SPLIT_SEED = 0
"""The splits are part of the data set: runs of every seed have the same."""

SHIFTS = 1
"""Sets the randomness of shifts apart from that of which images are drawn."""

Images = Float[np.ndarray, "images height width channels"]


class Labelled(NamedTuple):
    """Images of a split in their order, and the digit that each shows."""

    images: Images
    digits: Int[np.ndarray, " images"]


class DigitImages:
    """What all data sets that are made of these images have in common."""

    @property
    def dtype(self) -> np.dtype:
        """Type of the inputs, which lie in [0, 1]."""
        return np.dtype(np.float32)

    @property
    def loss_unit(self) -> str:
        """What losses are given in."""
        return "nats per image"

    @property
    def nats_per_unit(self) -> float:
        """Losses are in nats as they are."""
        return 1.0

    def check(self) -> None:
        """Makes sure that the images can be read."""
        labelled("train")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Digits(DigitImages):
    """Which of ten digits an image shows.

    Every class is split alike: 60% train, 20% search (what the search compares subnets
    on), 20% test (what the result is reported on).

    Raises:
        ValueError: If the shift is out of range.

    References:
        Optical Recognition of Handwritten Digits, Alpaydin and Kaynak 1998,
        https://archive.ics.uci.edu/dataset/80
    """

    shift: int = 0
    """Pixels that training images are moved by at most, up or down and left or right;
    what comes in at the edge is empty."""

    def __post_init__(self) -> None:
        if not 0 <= self.shift < SIDE:
            raise ValueError(f"shift must lie in 0..{SIDE - 1}, got {self.shift}")

    @property
    def title(self) -> str:
        """What it is, in words for a report."""
        return "handwritten digits of scikit-learn"

    @property
    def example(self) -> tuple[int, ...]:
        """Shape of one input: (height, width, channels)."""
        return (SIDE, SIDE, 1)

    @property
    def classes(self) -> int:
        """Number of digits."""
        return CLASSES

    def batch(
        self, *, size: int, seed: int, step: int, rows: slice = EVERY
    ) -> Examples:
        """Returns a step's training images and their digits.

        Steps go through the whole split, in another order each time, before an image
        comes again. A pure function of its arguments.
        """
        images, digits = labelled("train")
        drawn = epoch_rows(len(digits), size=size, seed=seed, step=step)[rows]
        rng = np.random.default_rng([seed, step, SHIFTS])
        offsets = rng.integers(0, 2 * self.shift + 1, (size, 2))[rows]
        edge = (self.shift, self.shift)
        padded = np.pad(images[drawn], ((0, 0), edge, edge, (0, 0)))
        return Examples(cropped(padded, offsets, SIDE), digits[drawn])

    def fixed(self, split: Split, count: int) -> Examples:
        """Returns the first images of a split, with equally many of each digit."""
        images, digits = labelled(split)
        return Examples(images[:count], digits[:count])

    def digest(self) -> str:
        """Sixteen hexadecimal digits of all images and their order."""
        return digest_of(*(labelled(split) for split in ("train", "search", "test")))


@functools.cache
def labelled(split: Split) -> Labelled:
    """Returns the images of a split, scaled to [0, 1], digits taking turns."""
    # Imported here: it takes a second, and only reading the data needs it.
    from sklearn.datasets import load_digits

    pixels, shown = load_digits(return_X_y=True)
    images = (pixels.reshape(-1, SIDE, SIDE, 1) / BRIGHTEST).astype(np.float32)
    digits = np.asarray(shown, np.int32)
    rng = np.random.default_rng(SPLIT_SEED)
    taken = []
    for digit in range(CLASSES):
        rows = rng.permutation(np.flatnonzero(digits == digit))
        taken.append(rows[_part(split, len(rows))])
    turns = np.concatenate([np.arange(len(rows)) for rows in taken])
    # Stable: within a turn, digits come in their order.
    rows = np.concatenate(taken)[np.argsort(turns, kind="stable")]
    return Labelled(_constant(images[rows]), _constant(digits[rows]))


def _part(split: Split, count: int) -> slice:
    """Returns which of a class's images, in random order, belong to a split."""
    start = 0
    for name, share in SHARES:
        stop = start + round(share * count)
        if name == split:
            return slice(start, stop)
        start = stop
    return slice(start, count)


def _constant(array: np.ndarray) -> np.ndarray:
    """Returns the array, now read-only: it is shared by all who ask for it."""
    array.flags.writeable = False
    return array


def epoch_rows(
    count: int, *, size: int, seed: int, step: int
) -> Int[np.ndarray, " size"]:
    """Returns which of a split's examples a step sees, in epochs without repetition.

    Args:
        count: Examples of the split.
        size: Examples in a step.
        seed: Of the order.
        step: Number of the step, from 0.
    """
    epochs, places = np.divmod(step * size + np.arange(size), count)
    orders = {
        epoch: np.random.default_rng([seed, epoch]).permutation(count)
        for epoch in np.unique(epochs).tolist()
    }
    pairs = zip(epochs.tolist(), places, strict=True)
    return np.asarray([orders[epoch][place] for epoch, place in pairs])


def cropped(
    images: Images, offsets: Int[np.ndarray, "images 2"], side: int
) -> Float[np.ndarray, "images side side channels"]:
    """Returns a square of each image.

    Args:
        images: What to cut from.
        offsets: Row and column of each square's first pixel.
        side: Its height and width.
    """
    span = np.arange(side)
    rows, columns = (offsets[:, axis, None] + span for axis in (0, 1))
    which = np.arange(len(images))[:, None, None]
    return images[which, rows[:, :, None], columns[:, None, :]]


def digest_of(*splits: tuple[np.ndarray, ...]) -> str:
    """Returns sixteen hexadecimal digits of arrays, split by split."""
    parts = (np.ascontiguousarray(array).tobytes() for s in splits for array in s)
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]
