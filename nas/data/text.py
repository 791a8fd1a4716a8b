"""The source text of the Python standard library, which every machine here has."""

import dataclasses
import functools
import hashlib
import math
import sysconfig
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from nas.data.dataset import EVERY, Examples, Split
from nas.errors import UsageError

BYTES = 256

SKIPPED = frozenset({"__pycache__", "idlelib", "lib2to3", "site-packages", "test"})
"""Folders left out: installed packages, tests, and what distributions may drop."""

HELD_OUT_FILES = 20
"""One file in this many goes to the search split, and another to the test split."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StdlibText:
    """The source text of the Python standard library, one token a byte.

    Files are sorted by path and go whole to one split, decided by a checksum of their
    path: 90% train, 5% search (what the search compares subnets on), 5% test (what the
    result is reported on).

    Raises:
        UsageError: If the folder is missing, unreadable, or holds too little text.
    """

    tokens: int = 128
    """Bytes in a window: the context length."""
    folder: str = ""
    """Folder of .py files; empty means the running Python's standard library."""

    def __post_init__(self) -> None:
        if self.tokens < 2:
            raise ValueError(f"tokens must be at least 2, got {self.tokens}")

    @property
    def root(self) -> Path:
        """The folder that is read."""
        return Path(self.folder or sysconfig.get_path("stdlib"))

    @property
    def title(self) -> str:
        """What it is, in words for a report."""
        return f"source text in {self.folder or 'the Python standard library'}"

    @property
    def example(self) -> tuple[int, ...]:
        """Shape of one input: (tokens,)."""
        return (self.tokens,)

    @property
    def dtype(self) -> np.dtype:
        """Type of the inputs."""
        return np.dtype(np.int32)

    @property
    def classes(self) -> int:
        """Number of different bytes."""
        return BYTES

    @property
    def loss_unit(self) -> str:
        """What losses are given in."""
        return "bits per byte"

    @property
    def nats_per_unit(self) -> float:
        """How many nats a bit is."""
        return math.log(2.0)

    def check(self) -> None:
        """Makes sure that there is text enough for every split."""
        self.text("train")

    def batch(
        self, *, size: int, seed: int, step: int, rows: slice = EVERY
    ) -> Examples:
        """Returns a step's random training windows and their next bytes.

        A pure function of its arguments, so a resumed run sees what it would have seen.
        """
        text = self.text("train")
        rng = np.random.default_rng([seed, step])
        starts = rng.integers(0, len(text) - self.tokens, size)
        return self._windows(text, starts[rows])

    def fixed(self, split: Split, count: int) -> Examples:
        """Returns windows spread evenly over a split, always the same.

        Where they are many, they overlap.
        """
        text = self.text(split)
        starts = np.linspace(0, len(text) - self.tokens - 1, count).astype(np.int64)
        return self._windows(text, starts)

    def _windows(
        self, text: UInt8[np.ndarray, " bytes"], starts: Int[np.ndarray, " windows"]
    ) -> Examples:
        taken = text[starts[:, None] + np.arange(self.tokens + 1)].astype(np.int32)
        return Examples(taken[:, :-1], taken[:, 1:])

    def text(self, split: Split) -> UInt8[np.ndarray, " bytes"]:
        """Returns the bytes of a split."""
        return _read(self.root, self.tokens)[split]

    def digest(self) -> str:
        """Sixteen hexadecimal digits of the text: standard libraries differ."""
        splits: tuple[Split, ...] = ("train", "search", "test")
        joined = b"".join(self.text(split).tobytes() for split in splits)
        return hashlib.sha256(joined).hexdigest()[:16]


def _files(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if SKIPPED.isdisjoint(parts) and not path.is_symlink():
            yield path


@functools.lru_cache(maxsize=4)
def _read(root: Path, tokens: int) -> dict[str, UInt8[np.ndarray, " bytes"]]:
    if not root.is_dir():
        raise UsageError(f"data folder {root} does not exist; give one with .py files")
    parts: dict[str, list[bytes]] = {"train": [], "search": [], "test": []}
    names = {0: "search", 1: "test"}
    for path in _files(root):
        bucket = zlib.crc32(path.relative_to(root).as_posix().encode()) % HELD_OUT_FILES
        try:
            parts[names.get(bucket, "train")].append(path.read_bytes())
        except OSError as error:
            raise UsageError(f"data file {path} cannot be read: {error}") from error
    text = {
        split: np.frombuffer(b"\n".join(blocks), np.uint8)
        for split, blocks in parts.items()
    }
    for split, array in text.items():
        if len(array) <= tokens + 1:
            raise UsageError(
                f"data folder {root} gives {len(array)} bytes of .py text for the "
                f"{split} split, a window needs {tokens + 1}; give a larger folder"
            )
    return text
