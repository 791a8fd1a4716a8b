"""Every architecture evaluated so far, durable line by line."""

import dataclasses
import errno
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from search.space import Architecture, Genotype, Genotypes
from search.space.architecture import Json


@dataclasses.dataclass(frozen=True)
class Record:
    """One evaluated architecture.

    Attributes:
        genotype: Its canonical genotype.
        arch: The architecture as JSON.
        metrics: Every metric, cheap and evaluated, finite.
        campaign: Name of the campaign that evaluated it.
        index: Its position in that campaign.
        seconds: When, in seconds since 1970.
        fraction: Share of the examples that it was evaluated on.

    Raises:
        ValueError: If a metric is not finite.
    """

    genotype: tuple[int, ...]
    arch: Json
    metrics: dict[str, float]
    campaign: str
    index: int
    seconds: float
    fraction: float = 1.0

    @property
    def key(self) -> "Key":
        """What there is one record of: the genotype and the share of the examples."""
        return self.genotype, self.fraction

    def __post_init__(self) -> None:
        for name, value in self.metrics.items():
            if not math.isfinite(value):
                raise ValueError(
                    f"metric {name!r} of architecture {json.dumps(self.arch)} is "
                    f"{value}; a metric must be finite"
                )

    @classmethod
    def from_json(cls, encoded: object) -> "Record":
        """Rebuilds a record from ``dataclasses.asdict``.

        Raises:
            ValueError: If a field is missing, unknown or malformed.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        # Archives of before there were fractions have none.
        if not isinstance(encoded, Mapping) or {*encoded, "fraction"} != set(names):
            raise ValueError(f"a record is an object with the fields {names}")
        genotype, arch, metrics, campaign, index, seconds, _ = map(encoded.get, names)
        if not isinstance(genotype, list) or any(type(g) is not int for g in genotype):
            raise ValueError(f"'genotype' is {genotype!r}, not a list of integers")
        if not isinstance(metrics, Mapping) or not isinstance(arch, Mapping):
            raise ValueError("'arch' and 'metrics' must be objects")
        return cls(
            tuple(genotype),
            Architecture.from_json(arch).to_json(),
            {str(name): _number(str(name), value) for name, value in metrics.items()},
            str(campaign),
            int(_number("index", index)),
            _number("seconds", seconds),
            _number("fraction", encoded.get("fraction", 1.0)),
        )


Key = tuple[tuple[int, ...], float]


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name!r} is {value!r}, not a number")
    return float(value)


class Archive:
    """The records of a run, in memory and in a file of JSON lines.

    A last line that a crash left unfinished is dropped when the file is opened.

    Args:
        path: The file, made by the first :meth:`append`; ``None`` keeps no file.

    Raises:
        ValueError: If a line is corrupt or repeats a genotype at one share of the
            examples, naming the line.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._dropped = 0
        self._records: dict[Key, Record] = {}
        if path is not None and path.exists():
            self._load(path)

    def _load(self, path: Path) -> None:
        content = path.read_bytes()
        *lines, torn = content.split(b"\n")
        for number, line in enumerate(lines, start=1):
            try:
                record = Record.from_json(json.loads(line))
                self._refuse_held([record])
            except ValueError as error:
                raise ValueError(
                    f"{path}, line {number}: not an archive record ({error}); restore "
                    "the file, or delete that line to evaluate its architecture again"
                ) from error
            self._records[record.key] = record
        if torn:
            os.truncate(path, len(content) - len(torn))
            self._dropped = 1

    @property
    def dropped(self) -> int:
        """Number of unfinished lines dropped when the file was opened, 0 or 1."""
        return self._dropped

    @property
    def records(self) -> tuple[Record, ...]:
        """What was evaluated on all examples, in the order of evaluation."""
        return tuple(r for r in self._records.values() if r.fraction == 1)

    @property
    def partial(self) -> tuple[Record, ...]:
        """What was evaluated on a share of the examples, in that order."""
        return tuple(r for r in self._records.values() if r.fraction < 1)

    def __len__(self) -> int:
        return len(self.records)

    def __contains__(self, record: Record) -> bool:
        """Says whether there is one of the same genotype and share of the examples."""
        return record.key in self._records

    def lookup(self, genotype: Genotype, fraction: float = 1.0) -> Record | None:
        """Returns the record of a canonical genotype, if there is one.

        Args:
            genotype: Whose.
            fraction: Share of the examples that it is to be of.
        """
        return self._records.get((tuple(genotype.tolist()), fraction))

    def lookup_many(
        self, genotypes: Genotypes, fraction: float = 1.0
    ) -> list[Record | None]:
        """Returns what :meth:`lookup` does, for each genotype."""
        return [self.lookup(genotype, fraction) for genotype in genotypes]

    def append(self, records: Sequence[Record]) -> None:
        """Adds records; when this returns, they are on disk.

        Raises:
            ValueError: If a genotype is already held or given twice; nothing is added.
            OSError: If the file cannot be written; nothing is added.
        """
        self._refuse_held(records)
        if self._path is not None:
            lines = [json.dumps(dataclasses.asdict(record)) for record in records]
            _append(self._path, "".join(line + "\n" for line in lines).encode())
        self._records.update((record.key, record) for record in records)

    def _refuse_held(self, records: Sequence[Record]) -> None:
        seen = set(self._records)
        for record in records:
            if record.key in seen:
                raise ValueError(
                    f"architecture {json.dumps(record.arch)} is in the archive already"
                )
            seen.add(record.key)


def _append(path: Path, text: bytes) -> None:
    """Writes at the end of a file, durably and all or nothing."""
    with path.open("ab", buffering=0) as file:
        start = file.seek(0, os.SEEK_END)
        try:
            if file.write(text) < len(text):
                raise OSError(errno.ENOSPC, "the archive could not be written", path)
            os.fsync(file.fileno())
        except OSError:
            file.truncate(start)
            raise
