"""Images in ArrayRecord files, any record of which can be read alone."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int
from typing_extensions import override

from nas.data.augmentation import Cut
from nas.data.dataset import SPLITS, Split
from nas.data.files import (
    digest_of_files,
    place_in,
    require_folder,
    shards_of,
    starts_of,
)
from nas.data.images import LabelledImage, LabelledImages, require_class
from nas.data.pictures import decoded, judged
from nas.errors import UsageError

if TYPE_CHECKING:
    import grain

SUFFIX = ".array_record"
IMAGE, LABEL = "image", "label"
"""The keys of a record."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArrayRecords(LabelledImages):
    """Images in files ``path/train*.array_record``, ``search*`` and ``test*``.

    Few large files are read faster from shared and remote disks than a million small
    ones. Each record is a MessagePack map with the keys ``image``, an encoded file such
    as a JPEG, and ``label``, a whole number; MessagePack, since it holds bytes as they
    are, is read without a schema, and is there with Flax. `write_image_records` makes
    such files.

    Images that are judged are resized so that the middle 7/8 of the shorter side fill
    the square.
    """

    @override
    def source(self, split: Split) -> "RecordSource":
        """Returns the images of a split, of which only the files are open.

        Raises:
            UsageError: If there are none, or a file is damaged.
        """
        return RecordSource(self, _opened(self.path, split))

    def digest(self) -> str:
        """Sixteen hexadecimal digits of the names, sizes and ends of all files."""
        files = (_opened(self.path, split).files for split in SPLITS)
        named = [(file.name, file) for of_split in files for file in of_split]
        return digest_of_files(named, peek=True)


@dataclasses.dataclass(frozen=True)
class Shards:
    """The open files of a split.

    Attributes:
        files: Where they lie.
        readers: Of each.
        starts: Number of each one's first record, and of all records.
    """

    files: tuple[Path, ...]
    readers: tuple["grain.sources.ArrayRecordDataSource", ...]
    starts: Int[np.ndarray, " shards_and_end"]


@dataclasses.dataclass(frozen=True)
class RecordSource:
    """Images of a split, each read from its record."""

    data: ArrayRecords
    shards: Shards

    def __len__(self) -> int:
        """How many there are."""
        return int(self.shards.starts[-1])

    def read(self, index: int, cut: Cut | None) -> LabelledImage:
        """Returns an image and its class; see `nas.data.images.Source`."""
        shard, place = place_in(self.shards.starts, index)
        name = f"record {place} of {self.shards.files[shard]}"
        try:
            record = self.shards.readers[shard][place]
        except RuntimeError as error:
            raise UsageError(f"{name} is damaged ({error}); write it again") from error
        encoded, label = _unpacked(record, name)
        pixels = decoded(
            encoded,
            name=name,
            side=self.data.side,
            channels=self.data.channels,
            cut=cut or judged,
        )
        return LabelledImage(pixels, require_class(label, self.data.classes, name))


def _unpacked(record: bytes, name: str) -> tuple[bytes, int]:
    """Returns the encoded image and the label of a record."""
    import msgpack

    try:
        content = msgpack.unpackb(record)
    except (ValueError, msgpack.UnpackException) as error:
        raise UsageError(
            f"{name} is not MessagePack ({error}); write it with write_image_records"
        ) from error
    content = content if isinstance(content, dict) else {}
    image, label = content.get(IMAGE), content.get(LABEL)
    if not isinstance(image, bytes) or not isinstance(label, int):
        raise UsageError(
            f"{name} must be a map with {IMAGE!r} as bytes and {LABEL!r} as a whole "
            f"number, it has {sorted(map(str, content)) or 'no keys'}; write it with "
            "write_image_records"
        )
    return image, label


@functools.lru_cache(maxsize=16)
def _opened(path: str, split: Split) -> Shards:
    """Opens the files of a split, once for each process."""
    import grain

    folder = require_folder(path, f"{split}*{SUFFIX} files")
    files = shards_of(folder, split, SUFFIX)
    readers = []
    for file in files:
        try:
            readers.append(grain.sources.ArrayRecordDataSource([str(file)]))
        except (RuntimeError, OSError) as error:
            # Of a file that ends too early the reader says nothing.
            raise UsageError(
                f"data file {file} cannot be opened "
                f"({str(error) or 'truncated or no ArrayRecord'}); copy or write it "
                "again"
            ) from error
    starts = starts_of(map(len, readers))
    if not starts[-1]:
        raise UsageError(
            f"data folder {folder} has no record in its {split}*{SUFFIX} files; at "
            "least one is needed"
        )
    return Shards(tuple(files), tuple(readers), starts)


def write_image_records(path: Path, pairs: Iterable[tuple[bytes, int]]) -> int:
    """Writes images and their classes into an ArrayRecord file for `ArrayRecords`.

    The file appears when it is whole.

    Args:
        path: The file, such as ``train-00.array_record``.
        pairs: Each image as an encoded file's content, and its class from 0.

    Returns:
        How many were written.

    Raises:
        ValueError: If the name does not begin with a split or end as it should.
    """
    import msgpack
    from array_record.python.array_record_module import ArrayRecordWriter

    if not path.name.startswith(SPLITS) or path.suffix != SUFFIX:
        raise ValueError(
            f"the name must begin with {', '.join(SPLITS)} and end with {SUFFIX}, got "
            f"{path.name}"
        )
    written = 0
    part = path.with_suffix(".part")
    # One record in a group: any of them is read without its neighbours.
    with contextlib.closing(ArrayRecordWriter(str(part), "group_size:1")) as writer:
        for image, label in pairs:
            writer.write(msgpack.packb({IMAGE: image, LABEL: label}))
            written += 1
    part.replace(path)
    return written
