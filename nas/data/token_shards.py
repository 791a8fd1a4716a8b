"""Text as token numbers in files of NumPy arrays, which may be larger than memory."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
from jaxtyping import Int, Integer

from nas.data.dataset import EVERY, SPLITS, Examples, Split
from nas.data.epochs import places_of, shuffled
from nas.data.files import (
    digest_of_files,
    place_in,
    require_folder,
    shards_of,
    starts_of,
)
from nas.errors import UsageError

SUFFIX = ".npy"
TYPES = ("uint8", "uint16", "int32", "uint32")

PHASE = 5
"""Sets the randomness of where windows begin apart from their order."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenShards:
    """Tokens in files ``path/train*.npy``, ``search*.npy`` and ``test*.npy``.

    Each is an array of one axis, of uint8, uint16, int32 or uint32, which stays on disk
    until a window is read. An epoch goes through windows of the training split that do
    not overlap or cross from one file into another, in shuffled order; where the first
    window of a file begins is drawn anew for each epoch, so that the ends of windows
    are not always the same. That leaves out less than two windows of a file.

    Raises:
        ValueError: If a number is out of range.
    """

    path: str
    """Folder of the files."""
    tokens: int
    """Tokens in a window: the context length."""
    vocabulary: int
    """Number of different tokens."""

    def __post_init__(self) -> None:
        for name in ("tokens", "vocabulary"):
            if getattr(self, name) < 2:
                raise ValueError(
                    f"{name} must be at least 2, got {getattr(self, name)}"
                )

    @property
    def title(self) -> str:
        """What it is, in words for a report."""
        return f"tokens in {self.path}"

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
        """Number of different tokens."""
        return self.vocabulary

    @property
    def loss_unit(self) -> str:
        """What losses are given in."""
        return "nats per token"

    @property
    def nats_per_unit(self) -> float:
        """Losses are in nats as they are."""
        return 1.0

    def check(self) -> None:
        """Makes sure that every file can be opened and holds tokens at both ends."""
        for split in SPLITS:
            opened = _opened(self.path, split, self.tokens)
            for shard, array in enumerate(opened.arrays):
                for start in (0, len(array) - self.tokens - 1):
                    self._window(opened, shard, start)

    def batch(
        self, *, size: int, seed: int, step: int, rows: slice = EVERY
    ) -> Examples:
        """Returns a step's training windows and their next tokens.

        A pure function of its arguments.
        """
        opened = _opened(self.path, "train", self.tokens)
        count = int(opened.starts[-1])
        places = places_of(size=size, step=step, rows=rows)
        drawn = shuffled(places, count=count, seed=seed)
        windows = [
            self._drawn(opened, window, epoch, seed)
            for window, epoch in zip(
                drawn.tolist(), (places // count).tolist(), strict=True
            )
        ]
        return _examples(windows)

    def _drawn(
        self, opened: "Shards", window: int, epoch: int, seed: int
    ) -> Int[np.ndarray, " tokens_and_next"]:
        shard, place = place_in(opened.starts, window)
        left = len(opened.arrays[shard]) - 1 - opened.windows(shard) * self.tokens
        rng = np.random.default_rng([seed, epoch, shard, PHASE])
        phase = int(rng.integers(0, left, endpoint=True))
        return self._window(opened, shard, phase + place * self.tokens)

    def fixed(self, split: Split, count: int) -> Examples:
        """Returns windows spread evenly over a split, always the same; none overlap."""
        opened = _opened(self.path, split, self.tokens)
        starts = starts_of((len(a) - 1) // self.tokens for a in opened.arrays)
        last, chosen = int(starts[-1]) - 1, min(count, int(starts[-1]))
        windows = []
        for window in np.linspace(0, last, chosen).astype(np.int64).tolist():
            shard, place = place_in(starts, window)
            windows.append(self._window(opened, shard, place * self.tokens))
        return _examples(windows)

    def _window(
        self, opened: "Shards", shard: int, start: int
    ) -> Int[np.ndarray, " tokens_and_next"]:
        """Reads a window and the token after it."""
        taken = opened.arrays[shard][start : start + self.tokens + 1]
        least, greatest = int(taken.min()), int(taken.max())
        if least < 0 or greatest >= self.vocabulary:
            wrong = least if least < 0 else greatest
            raise UsageError(
                f"data file {opened.files[shard]} has the token {wrong} near place "
                f"{start}, outside the vocabulary 0..{self.vocabulary - 1}; give "
                "--data.vocabulary, or write it again"
            )
        return taken.astype(np.int32)

    def digest(self) -> str:
        """Sixteen hexadecimal digits of the names, sizes and ends of all files."""
        files = (_opened(self.path, split, self.tokens).files for split in SPLITS)
        named = [(file.name, file) for of_split in files for file in of_split]
        return digest_of_files(named, peek=True)


@dataclasses.dataclass(frozen=True)
class Shards:
    """The open files of a split.

    Attributes:
        files: Where they lie.
        arrays: Their tokens, each of another number, on disk.
        starts: Number of each one's first window, and of all windows of an epoch.
    """

    files: tuple[Path, ...]
    arrays: tuple[Integer[np.ndarray, " _"], ...]
    starts: Int[np.ndarray, " shards_and_end"]

    def windows(self, shard: int) -> int:
        """How many windows of a file an epoch goes through."""
        return int(self.starts[shard + 1] - self.starts[shard])


def _examples(windows: list[Int[np.ndarray, " tokens_and_next"]]) -> Examples:
    taken = np.stack(windows)
    return Examples(taken[:, :-1], taken[:, 1:])


@functools.lru_cache(maxsize=16)
def _opened(path: str, split: Split, tokens: int) -> Shards:
    """Opens the files of a split, once for each process."""
    folder = require_folder(path, f"{split}*{SUFFIX} files")
    files = shards_of(folder, split, SUFFIX)
    arrays = [_mapped(file, tokens) for file in files]
    # One window less than fit leaves room to move the first; a short file has but one.
    starts = starts_of(max(1, len(array) // tokens - 1) for array in arrays)
    return Shards(tuple(files), tuple(arrays), starts)


def _mapped(file: Path, tokens: int) -> Integer[np.ndarray, " tokens"]:
    """Returns a file's tokens, which stay on disk."""
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(
            f"data file {file} is damaged or no array ({error}); write it again with "
            "numpy.save"
        ) from error
    if array.ndim != 1 or array.dtype.name not in TYPES:
        raise UsageError(
            f"data file {file} holds {array.dtype} of shape {array.shape}; tokens must "
            f"be {', '.join(TYPES)}, with one axis"
        )
    if len(array) <= tokens:
        raise UsageError(
            f"data file {file} has {len(array)} tokens, a window needs {tokens + 1}; "
            "join it with another, or give a smaller --data.tokens"
        )
    return array
