"""Images in folders named by split and class, as ImageNet is kept."""

import dataclasses
import functools
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int
from typing_extensions import override

from nas.data.augmentation import Cut
from nas.data.dataset import SPLITS, Split
from nas.data.files import digest_of_files, require_folder
from nas.data.images import LabelledImage, LabelledImages
from nas.data.pictures import decoded, judged
from nas.errors import UsageError

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
"""Of the files that are read, in small letters; others are left alone."""

FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "search": ("search",),
    "test": ("test", "val", "validation"),
}
"""What the folder of each split may be called."""

HELD_OUT_IMAGES = 20
"""One training image in this many is searched on if there is no folder for it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageFolder(LabelledImages):
    """Images in folders: ``path/train/CLASS/*.jpg``, ``search`` and ``test`` alike.

    Classes are numbered in the order of their names. ``val`` or ``validation`` is taken
    for ``test`` if there is none. Without ``search``, every twentieth training image,
    chosen by a checksum of its path, is searched on instead of trained on.

    Images that are judged are resized so that the middle 7/8 of the shorter side fill
    the square.
    """

    @override
    def source(self, split: Split) -> "FolderSource":
        """Returns the images of a split, of which only the names are held.

        Raises:
            UsageError: If there are none, or the classes are not those expected.
        """
        return FolderSource(self, self._listing(split))

    def _listing(self, split: Split) -> "Listing":
        listing = _listings(self.path)[split]
        found = len(listing.classes)
        if found != self.classes:
            raise UsageError(
                f"data folder {listing.folder} has {found} classes, {self.classes} "
                f"were expected; give --data.classes {found}, or another folder"
            )
        return listing

    def digest(self) -> str:
        """Sixteen hexadecimal digits of the paths and sizes of all images."""

        def files() -> Iterator[tuple[str, Path]]:
            for split in SPLITS:
                listing = self._listing(split)
                for index in range(len(listing.names)):
                    path = listing.file(index)
                    yield f"{split}/{path.parent.name}/{path.name}", path

        return digest_of_files(files(), peek=False)


class Listing(NamedTuple):
    """The images of a split.

    Attributes:
        folder: Of the split.
        classes: Names of its classes, in order.
        names: Each image's file name; fixed in width, since objects would take four
            times the memory of each worker.
        labels: Each image's class.
    """

    folder: Path
    classes: tuple[str, ...]
    names: np.ndarray
    labels: Int[np.ndarray, " images"]

    def file(self, index: int) -> Path:
        """Returns where an image is."""
        name = os.fsdecode(self.names[index])
        return self.folder / self.classes[self.labels[index]] / name

    def where(self, chosen: Bool[np.ndarray, " images"]) -> "Listing":
        """Returns some of the images."""
        return self._replace(names=self.names[chosen], labels=self.labels[chosen])


@dataclasses.dataclass(frozen=True)
class FolderSource:
    """Images of a split, each read from its file."""

    data: ImageFolder
    listing: Listing

    def __len__(self) -> int:
        """How many there are."""
        return len(self.listing.names)

    def read(self, index: int, cut: Cut | None) -> LabelledImage:
        """Returns an image and its class; see `nas.data.images.Source`."""
        path = self.listing.file(index)
        try:
            encoded = path.read_bytes()
        except OSError as error:
            raise UsageError(f"image {path} cannot be read: {error}") from error
        pixels = decoded(
            encoded,
            name=str(path),
            side=self.data.side,
            channels=self.data.channels,
            cut=cut or judged,
        )
        return LabelledImage(pixels, int(self.listing.labels[index]))


@functools.lru_cache(maxsize=4)
def _listings(path: str) -> dict[Split, Listing]:
    """Lists all splits, once for each process."""
    root = require_folder(path, "train/CLASS/IMAGE")
    folders = {split: _folder(root, split) for split in SPLITS}
    train = _listed(_required(root, folders["train"], "train"))
    test = _listed(_required(root, folders["test"], "test"))
    if folders["search"] is None:
        held = _held_out(train)
        search, train = train.where(held), train.where(~held)
        for listing, what in ((search, "search on"), (train, "train on")):
            if not len(listing.names):
                raise UsageError(
                    f"data folder {train.folder} has too few images to hold some out, "
                    f"none is left to {what}; add more, or a folder {root / 'search'}"
                )
    else:
        search = _listed(folders["search"])
    for other in (search, test):
        _require_same_classes(train, other)
    return {"train": train, "search": search, "test": test}


def _folder(root: Path, split: Split) -> Path | None:
    """Returns a split's folder, if there is one."""
    paths = (root / name for name in FOLDERS[split])
    return next((path for path in paths if path.is_dir()), None)


def _required(root: Path, folder: Path | None, split: Split) -> Path:
    if folder is None:
        names = " or ".join(FOLDERS[split])
        raise UsageError(
            f"data folder {root} has no folder {names}; put images into "
            f"{root / split}/CLASS"
        )
    return folder


def _listed(folder: Path) -> Listing:
    """Lists the classes of a split and the images of each."""
    try:
        classes = tuple(sorted(e.name for e in os.scandir(folder) if e.is_dir()))
        images = [_names(folder / name) for name in classes]
    except OSError as error:
        raise UsageError(
            f"data folder {error.filename or folder} cannot be read: {error}"
        ) from error
    if not classes:
        raise UsageError(
            f"data folder {folder} has no folder for any class; put images into "
            f"{folder}/CLASS"
        )
    counts = [len(names) for names in images]
    return Listing(
        folder=folder,
        classes=classes,
        names=np.asarray([name for names in images for name in names]),
        labels=np.repeat(np.arange(len(classes), dtype=np.int32), counts),
    )


def _names(folder: Path) -> list[bytes]:
    """Returns the file names of a class's images."""
    names = [e.name for e in os.scandir(folder) if e.name.lower().endswith(ENDINGS)]
    if not names:
        raise UsageError(
            f"data folder {folder} holds no images ({', '.join(ENDINGS)}); add some, "
            "or remove the folder"
        )
    return [os.fsencode(name) for name in sorted(names)]


def _held_out(listing: Listing) -> Bool[np.ndarray, " images"]:
    """Says which training images are searched on instead."""
    checksums = [
        zlib.crc32(os.fsencode(listing.classes[label]) + b"/" + name)
        for name, label in zip(listing.names, listing.labels, strict=True)
    ]
    return np.asarray(checksums) % HELD_OUT_IMAGES == 0


def _require_same_classes(train: Listing, other: Listing) -> None:
    different = set(train.classes) ^ set(other.classes)
    if different:
        names = ", ".join(sorted(different)[:3])
        raise UsageError(
            f"data folders {train.folder} and {other.folder} differ in the classes "
            f"{names}{' and others' if len(different) > 3 else ''}; both need all"
        )
