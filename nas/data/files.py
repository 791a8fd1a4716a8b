"""Folders and files that data sets are read from."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Int

from nas.errors import UsageError

PEEK = 1 << 16
"""Bytes at either end of a large file that its digest is of."""


def require_folder(path: str, holds: str) -> Path:
    """Returns a folder of data.

    Args:
        path: The folder.
        holds: What belongs in it, in words.

    Raises:
        UsageError: If there is none.
    """
    folder = Path(path)
    if not path or not folder.exists():
        raise UsageError(f"data folder {path!r} does not exist; give one with {holds}")
    if not folder.is_dir():
        raise UsageError(f"data folder {path} is a file; give a folder with {holds}")
    return folder


def shards_of(folder: Path, split: str, suffix: str) -> list[Path]:
    """Returns a split's files, sorted by name.

    Args:
        folder: Where they lie.
        split: What their names begin with.
        suffix: What they end with.

    Raises:
        UsageError: If there are none, or the folder cannot be read.
    """
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise UsageError(f"data folder {folder} cannot be read: {error}") from error
    wanted = [n for n in names if n.startswith(split) and n.endswith(suffix)]
    if not wanted:
        raise UsageError(
            f"data folder {folder} has no file {split}*{suffix} for the {split} split; "
            "add at least one"
        )
    return [folder / name for name in wanted]


def starts_of(counts: Iterable[int]) -> Int[np.ndarray, " shards_and_end"]:
    """Returns the number of each shard's first example, and of all examples.

    >>> starts_of([3, 2]).tolist()
    [0, 3, 5]
    """
    return np.cumsum([0, *counts])


def place_in(
    starts: Int[np.ndarray, " shards_and_end"], example: int
) -> tuple[int, int]:
    """Returns which shard holds an example, and its place there.

    >>> place_in(starts_of([3, 2]), 3)
    (1, 0)
    """
    shard = int(np.searchsorted(starts, example, side="right")) - 1
    return shard, example - int(starts[shard])


def digest_of_files(files: Iterable[tuple[str, Path]], *, peek: bool) -> str:
    """Returns sixteen hexadecimal digits of files too large to be read whole.

    Args:
        files: Their names in the data set, in its order, and where they lie.
        peek: Whether the digest is of their ends too, and not of names and sizes only.

    Raises:
        UsageError: If one cannot be read.
    """
    found = hashlib.sha256()
    for name, path in files:
        try:
            size = path.stat().st_size
            found.update(f"{name}\0{size}\0".encode(errors="surrogateescape"))
            if peek:
                with path.open("rb") as file:
                    found.update(file.read(PEEK))
                    file.seek(max(0, size - PEEK))
                    found.update(file.read(PEEK))
        except OSError as error:
            raise UsageError(f"data file {path} cannot be read: {error}") from error
    return found.hexdigest()[:16]
