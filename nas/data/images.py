"""What all data sets of labelled images have in common, wherever they are stored."""

import dataclasses
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from nas.data.augmentation import CROP_AND_FLIP, Augmentation, Cut, Pixels
from nas.data.dataset import EVERY, SPLITS, Examples, Split
from nas.data.epochs import places_of, shuffled
from nas.errors import UsageError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of red, green and blue in [0, 1], over the images of ImageNet."""

AUGMENTED = 4
"""Sets the randomness of what is done to images apart from their order."""

JUDGED_SEED = 0
"""Of the order of images that subnets are judged on, the same in every run."""


class LabelledImage(NamedTuple):
    """An image and its class."""

    pixels: Pixels
    label: int


@runtime_checkable
class Source(Protocol):
    """The images of a split, any of which can be read alone."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def read(self, index: int, cut: Cut | None) -> LabelledImage:
        """Returns an image, in [0, 1].

        Args:
            index: Which one.
            cut: Chooses what is cut out of it; by default what is judged.

        Raises:
            UsageError: If it is damaged.
        """
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """Images that each show one of some classes.

    A data set of this kind adds where images come from, and a digest. Random changes to
    an image depend on seed, step and its row alone.

    Raises:
        ValueError: If a number is out of range.
    """

    path: str
    """Where the images are."""
    side: int
    """Height and width of an image, in pixels."""
    channels: Literal[1, 3] = 3
    """Three for colour, one for grey."""
    classes: int
    """Number of classes."""
    augmentation: Augmentation = CROP_AND_FLIP
    """What is done to training images."""
    mean: tuple[float, ...] = ()
    """Subtracted from each channel in [0, 1]; empty means that of ImageNet for three
    channels, and 0 for others."""
    std: tuple[float, ...] = ()
    """What each channel is divided by then; empty means that of ImageNet for three
    channels, and 1 for others."""

    def __post_init__(self) -> None:
        for name, least in (("side", 1), ("classes", 2)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"{name} must be at least {least}, got {getattr(self, name)}"
                )
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, got {self.channels}")
        for name in ("mean", "std"):
            given = getattr(self, name)
            if len(given) not in (0, self.channels):
                raise ValueError(
                    f"{name} needs a number for each of {self.channels} channels, or "
                    f"none, got {given}"
                )
        if any(value <= 0 for value in self.std):
            raise ValueError(f"std must be positive, got {self.std}")

    @property
    def example(self) -> tuple[int, ...]:
        """Shape of one input: (height, width, channels)."""
        return (self.side, self.side, self.channels)

    @property
    def title(self) -> str:
        """What it is, in words for a report."""
        return f"images in {self.path}"

    def source(self, split: Split) -> Source:
        """Returns the images of a split.

        Raises:
            UsageError: If there are none, or they cannot be read.
        """
        raise NotImplementedError

    @property
    def dtype(self) -> np.dtype:
        """Type of the inputs."""
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
        """Makes sure that every split can be opened and its ends can be read."""
        for split in SPLITS:
            source = self.source(split)
            for index in (0, len(source) - 1):
                source.read(index, None)

    def batch(
        self, *, size: int, seed: int, step: int, rows: slice = EVERY
    ) -> Examples:
        """Returns a step's training images, changed at random, and their classes.

        Steps go through the whole split, in another order each time, before an image
        comes again. A pure function of its arguments.
        """
        source = self.source("train")
        places = places_of(size=size, step=step, rows=rows)
        drawn = shuffled(places, count=len(source), seed=seed)
        numbers = np.arange(size)[rows]

        def read(pair: tuple[int, int]) -> LabelledImage:
            number, index = pair
            rng = np.random.default_rng([seed, step, number, AUGMENTED])
            cut = self.augmentation.cut(rng) if self.augmentation.crop else None
            pixels, label = source.read(index, cut)
            return LabelledImage(self.augmentation.changed(pixels, rng), label)

        pairs = zip(numbers.tolist(), drawn.tolist(), strict=True)
        return self._examples(read, pairs)

    def fixed(self, split: Split, count: int) -> Examples:
        """Returns images of a split in an order that is always the same."""
        source = self.source(split)
        places = np.arange(min(count, len(source)))
        drawn = shuffled(places, count=len(source), seed=JUDGED_SEED)

        def read(pair: tuple[int, int]) -> LabelledImage:
            return source.read(pair[1], None)

        pairs = zip(places.tolist(), drawn.tolist(), strict=True)
        return self._examples(read, pairs)

    def _examples(
        self,
        read: Callable[[tuple[int, int]], LabelledImage],
        pairs: Iterable[tuple[int, int]],
    ) -> Examples:
        """Reads images, at once on all processors: decoding leaves Python running."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            pixels, labels = zip(*pool.map(read, pairs), strict=True)
        inputs = np.stack(pixels)
        inputs -= self._moments(0)
        inputs /= self._moments(1)
        return Examples(inputs, np.asarray(labels, np.int32))

    def _moments(self, which: int) -> Float[np.ndarray, " channels"]:
        given = (self.mean, self.std)[which]
        usual = (IMAGENET_MEAN, IMAGENET_STD)[which]
        if self.channels != len(usual):
            usual = (float(which),)
        return np.asarray(given or usual, np.float32)


def require_class(label: int, classes: int, name: str) -> int:
    """Returns the class of an image.

    Args:
        label: Of the image.
        classes: How many there should be.
        name: Of the image, for the message.

    Raises:
        UsageError: If there is no such class.
    """
    if not 0 <= label < classes:
        raise UsageError(
            f"{name} has the label {label}, outside the classes 0..{classes - 1}; "
            "correct it, or give --data.classes"
        )
    return label
