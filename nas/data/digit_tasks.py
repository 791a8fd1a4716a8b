"""Two tasks on one image: which digit, and in which corner of the canvas."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from nas.data.dataset import EVERY, Examples, Labels, Split
from nas.data.digits import (
    CLASSES,
    SIDE,
    SPLIT_NUMBERS,
    DigitImages,
    Images,
    cropped,
    digest_of,
    epoch_rows,
    labelled,
)

CANVAS = 12
CORNERS = 4
JITTER = 2
"""Offsets from each edge that count as its corner; the middle one belongs to none."""

PLACES = 2
"""Sets the randomness of places apart from that of which images are drawn."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DigitTasks(DigitImages):
    """Digits of `Digits` on a larger canvas, each near a corner that is drawn anew.

    ``digit`` asks which of ten it is, ``corner`` in which of four it lies: top left,
    top right, bottom left, bottom right. Corners are drawn independently of digits, so
    neither answer tells anything of the other. The corner is easy: any subnet learns
    it, so there is hardly anything to trade. `DigitPairs` has two tasks that are alike.
    """

    @property
    def title(self) -> str:
        """What it is, in words for a report."""
        return "handwritten digits of scikit-learn, each in a corner of a canvas"

    @property
    def example(self) -> tuple[int, ...]:
        """Shape of one input: (height, width, channels)."""
        return (CANVAS, CANVAS, 1)

    @property
    def classes(self) -> dict[str, int]:
        """Number of classes of each task."""
        return {"digit": CLASSES, "corner": CORNERS}

    def batch(
        self, *, size: int, seed: int, step: int, rows: slice = EVERY
    ) -> Examples:
        """Returns a step's training images, each somewhere else whenever it comes.

        A pure function of its arguments.
        """
        images, digits = labelled("train")
        drawn = epoch_rows(len(digits), size=size, seed=seed, step=step)
        rng = np.random.default_rng([seed, step, PLACES])
        # All are placed: which rows are asked for must not move any.
        placed, targets = _placed(images[drawn], digits[drawn], rng)
        asked = {task: labels[rows] for task, labels in targets.items()}
        return Examples(placed[rows], asked)

    def fixed(self, split: Split, count: int) -> Examples:
        """Returns the first images of a split, each always in the same place."""
        images, digits = labelled(split)
        rng = np.random.default_rng([SPLIT_NUMBERS[split], PLACES])
        # Of the whole split: how many are asked for must not move any.
        placed, targets = _placed(images, digits, rng)
        first = {task: labels[:count] for task, labels in targets.items()}
        return Examples(placed[:count], first)

    def digest(self) -> str:
        """Sixteen hexadecimal digits of all images, their order and places."""
        splits = []
        for split, number in SPLIT_NUMBERS.items():
            rng = np.random.default_rng([number, PLACES])
            inputs, targets = _placed(*labelled(split), rng)
            splits.append((inputs, *targets.values()))
        return digest_of(*splits)


def _placed(
    images: Images, digits: Int[np.ndarray, " images"], rng: np.random.Generator
) -> tuple[Float[np.ndarray, "images side side channels"], dict[str, Labels]]:
    """Puts each image near a random corner of an empty canvas."""
    count, room = len(images), CANVAS - SIDE
    far = rng.integers(0, 2, (count, 2))
    jitter = rng.integers(0, JITTER, (count, 2))
    at = np.where(far, room - jitter, jitter)
    # A window on a wider canvas that starts earlier shows the image further in.
    edge = (room, room)
    wide = np.pad(images, ((0, 0), edge, edge, (0, 0)))
    targets = {"digit": digits, "corner": (2 * far[:, 0] + far[:, 1]).astype(np.int32)}
    return cropped(wide, room - at, CANVAS), targets
