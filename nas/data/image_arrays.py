"""Images in one file of NumPy arrays, held in memory."""

import dataclasses
import functools
import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, Integer, UInt8
from typing_extensions import override

from nas.data.augmentation import OFF, Augmentation, Cut
from nas.data.dataset import SPLITS, Split
from nas.data.images import LabelledImage, LabelledImages, require_class
from nas.data.pictures import cut_out, in_unit_interval
from nas.errors import UsageError

Stored = (
    Float[np.ndarray, "images height width channels"]
    | UInt8[np.ndarray, "images height width channels"]
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageArrays(LabelledImages):
    """Images of one ``.npz`` file, which fit into memory.

    It holds ``train_images``, ``train_labels`` and likewise for ``search`` and
    ``test``: images of shape (images, height, width, channels), or without channels if
    they are grey, of type uint8 or floats in [0, 1]; and whole numbers as labels.
    """

    augmentation: Augmentation = OFF
    """What is done to training images; nothing is what suits all of them."""

    @override
    def source(self, split: Split) -> "ArraySource":
        """Returns the images of a split.

        Raises:
            UsageError: If there are none, or they are not those expected.
        """
        source = _arrays(self.path)[split]
        found = source.images.shape[1:]
        if found != self.example:
            raise UsageError(
                f"data file {self.path}: {split}_images have the shape {found}, "
                f"{self.example} was expected; give --data.side and --data.channels"
            )
        for label in (int(source.labels.min()), int(source.labels.max())):
            require_class(label, self.classes, f"data file {self.path}: {split}_labels")
        return source

    def digest(self) -> str:
        """Sixteen hexadecimal digits of all images and labels."""
        found = hashlib.sha256()
        for split in SPLITS:
            source = _arrays(self.path)[split]
            for array in (source.images, source.labels):
                found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class ArraySource:
    """Images of a split in memory."""

    images: Stored
    labels: Integer[np.ndarray, " images"]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.labels)

    def read(self, index: int, cut: Cut | None) -> LabelledImage:
        """Returns an image and its class; see `nas.data.images.Source`."""
        pixels = in_unit_interval(self.images[index])
        if cut is not None:
            pixels = cut_out(pixels, cut)
        return LabelledImage(pixels, int(self.labels[index]))


@functools.lru_cache(maxsize=4)
def _arrays(path: str) -> dict[Split, ArraySource]:
    """Reads the arrays of all splits."""
    if not Path(path).is_file():
        raise UsageError(
            f"data file {path!r} does not exist; give an .npz file with train_images, "
            "train_labels and so on"
        )
    try:
        # NumPy would load a file of a single array too.
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(
            f"data file {path} is damaged or no .npz file ({error}); write it again "
            "with numpy.savez"
        ) from error
    return {split: _split(path, split, held) for split in SPLITS}


def _split(path: str, split: Split, held: Mapping[str, np.ndarray]) -> ArraySource:
    """Returns a split's arrays and makes sure that they are what they should be."""
    wanted = (f"{split}_images", f"{split}_labels")
    for name in wanted:
        if name not in held:
            raise UsageError(
                f"data file {path} has no array {name}; it has "
                f"{', '.join(held) or 'none'}"
            )
    images, labels = (held[name] for name in wanted)
    if images.ndim == 3:
        images = images[..., None]
    if problem := _problem(split, images, labels):
        raise UsageError(f"data file {path}: {problem}")
    return ArraySource(images, labels)


def _problem(split: Split, images: np.ndarray, labels: np.ndarray) -> str | None:
    """Says what is wrong with the arrays of a split, if anything is."""
    if images.ndim != 4 or labels.ndim != 1:
        return (
            f"{split}_images must have 3 or 4 axes and {split}_labels one, got "
            f"{images.ndim} and {labels.ndim}"
        )
    if len(images) != len(labels):
        return f"there are {len(images)} {split}_images but {len(labels)} labels"
    if not len(images):
        return f"{split}_images are empty; at least one is needed"
    if not np.issubdtype(labels.dtype, np.integer):
        return f"{split}_labels must be whole numbers, got {labels.dtype}"
    if images.dtype == np.uint8:
        return None
    if not np.issubdtype(images.dtype, np.floating):
        return f"{split}_images must be uint8 or floats, got {images.dtype}"
    # So put that numbers that are none fail too.
    if not (images.min() >= 0 and images.max() <= 1):
        return (
            f"{split}_images that are floats must lie in [0, 1], got "
            f"{images.min()}..{images.max()}; scale them"
        )
    return None
