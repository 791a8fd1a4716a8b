"""Two equally hard tasks on one image: which digits are the two that overlap in it."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from nas.data.dataset import EVERY, Examples, Labels, Split
from nas.data.digits import (
    CLASSES,
    SIDE,
    SPLIT_NUMBERS,
    DigitImages,
    digest_of,
    epoch_rows,
    labelled,
)

APART = 4
"""Pixels that the right digit lies to the right of the left one, and below it."""

CANVAS = SIDE + APART

PAIRS = 2048
"""Of each split that subnets are judged on; most images take part in several."""

PARTNERS = 3
"""Sets the randomness of pairs apart from that of which images are drawn."""

Canvases = Float[np.ndarray, "pairs height width channels"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DigitPairs(DigitImages):
    """Digits of `Digits` in pairs on a larger canvas (MultiMNIST, Sabour 2017).

    ``left`` asks for the digit at the top left, ``right`` for that at the bottom right,
    which are drawn independently and cover a quarter of each other. The tasks need the
    same features and are as hard as each other, so what one of them gets of a small
    network the other lacks. Pairs are of images of the same split.

    References:
        Sabour, Frosst, Hinton, "Dynamic routing between capsules", 2017, section 6,
        https://arxiv.org/abs/1710.09829. As two tasks: Sener, Koltun, "Multi-task
        learning as multi-objective optimization", 2018, section 5.1.
    """

    @property
    def title(self) -> str:
        """What it is, in words for a report."""
        return "handwritten digits of scikit-learn, in pairs that overlap"

    @property
    def example(self) -> tuple[int, ...]:
        """Shape of one input: (height, width, channels)."""
        return (CANVAS, CANVAS, 1)

    @property
    def classes(self) -> dict[str, int]:
        """Number of classes of each task."""
        return {"left": CLASSES, "right": CLASSES}

    def batch(
        self, *, size: int, seed: int, step: int, rows: slice = EVERY
    ) -> Examples:
        """Returns a step's training images, each with another partner when it comes.

        A pure function of its arguments.
        """
        count = len(labelled("train").digits)
        left = epoch_rows(count, size=size, seed=seed, step=step)
        rng = np.random.default_rng([seed, step, PARTNERS])
        right = rng.integers(0, count, size)
        return Examples(*_laid("train", left[rows], right[rows]))

    def fixed(self, split: Split, count: int) -> Examples:
        """Returns the first pairs of a split, always the same ones."""
        images, targets = _pairs(split)
        first = {task: digits[:count] for task, digits in targets.items()}
        return Examples(images[:count], first)

    def digest(self) -> str:
        """Sixteen hexadecimal digits of the pairs of all splits."""
        splits = (_pairs(split) for split in SPLIT_NUMBERS)
        return digest_of(*((images, *targets.values()) for images, targets in splits))


def _pairs(split: Split) -> tuple[Canvases, dict[str, Labels]]:
    """Returns all pairs by which subnets are judged on a split."""
    count = len(labelled(split).digits)
    rng = np.random.default_rng([SPLIT_NUMBERS[split], PARTNERS])
    left = np.arange(PAIRS) % count
    return _laid(split, left, rng.integers(0, count, PAIRS))


def _laid(
    split: Split, left: Int[np.ndarray, " pairs"], right: Int[np.ndarray, " pairs"]
) -> tuple[Canvases, dict[str, Labels]]:
    """Lays images of a split over each other: of two pixels the brighter one shows.

    Args:
        split: Of both.
        left: Which image lies at the top left of each canvas.
        right: Which one lies at the bottom right.
    """
    images, digits = labelled(split)
    canvases = np.zeros((len(left), CANVAS, CANVAS, 1), images.dtype)
    canvases[:, :SIDE, :SIDE] = images[left]
    there = canvases[:, APART:, APART:]
    np.maximum(there, images[right], out=there)
    return canvases, {"left": digits[left], "right": digits[right]}
