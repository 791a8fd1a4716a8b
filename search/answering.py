"""What the archive does not know of subnets is evaluated, and kept part by part."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

from search.archive import Record
from search.problem import Metrics, Problem
from search.space import Genotypes

Evaluate = Callable[[Genotypes], Iterable[tuple[int, Metrics]]]
"""Computes the expensive metrics of a batch.

Yields ``(start, metrics)`` for consecutive parts of it, in order: ``metrics`` belong to
the rows from ``start`` on. A part is archived before the next one is asked for.
"""


@runtime_checkable
class ArchiveLike(Protocol):
    """What a search needs of an archive, which may live in another process."""

    def lookup_many(
        self, genotypes: Genotypes, fraction: float = 1.0
    ) -> list[Record | None]:
        """Returns the record of each canonical genotype, if there is one.

        Args:
            genotypes: Whose.
            fraction: Share of the examples that they are to be of.
        """
        ...

    def append(self, records: Sequence[Record]) -> None:
        """Keeps records; one that is shared may prefer those it already has."""
        ...


def answered(
    problem: Problem,
    evaluate: Evaluate,
    archive: ArchiveLike,
    genotypes: Genotypes,
    *,
    name: str,
    indices: Int[np.ndarray, " population"],
    fraction: float = 1.0,
) -> list[Record]:
    """Returns the record of each genotype, evaluating those that have none.

    Args:
        problem: What is searched.
        evaluate: Computes the metrics that are not cheap.
        archive: Answers what was evaluated before, and keeps what is new.
        genotypes: Canonical, each once.
        name: Of the campaign that asks.
        indices: The position of each in that campaign.
        fraction: Share of the examples that they are evaluated on.

    Raises:
        ValueError: If the evaluation does not give all metrics of all genotypes.
    """
    held = archive.lookup_many(genotypes, fraction)
    missing = np.flatnonzero([record is None for record in held])
    if len(missing):
        rows = genotypes[missing]
        # Of the whole batch, so that rounding does not depend on what is missing.
        cheap = problem.cheap(genotypes)
        cheap = {name: values[missing] for name, values in cheap.items()}
        for start, count, evaluated in _parts(evaluate, rows):
            stop = start + count
            metrics = {n: values[start:stop] for n, values in cheap.items()} | evaluated
            problem.check(metrics)
            records = [
                Record(
                    genotype=tuple(rows[row].tolist()),
                    arch=problem.space.decode(rows[row]).to_json(),
                    metrics={n: float(v[row - start]) for n, v in metrics.items()},
                    campaign=name,
                    index=int(indices[missing[row]]),
                    seconds=time.time(),
                    fraction=fraction,
                )
                for row in range(start, stop)
            ]
            archive.append(records)
        # Read back, since a shared archive may hold what another campaign measured.
        held = archive.lookup_many(genotypes, fraction)
    found = [record for record in held if record is not None]
    if len(found) < len(genotypes):
        raise RuntimeError("the archive lost records that were appended to it")
    return list(problem.completed(found))


def _parts(
    evaluate: Evaluate, genotypes: Genotypes
) -> Iterator[tuple[int, int, Metrics]]:
    """Yields start, length and metrics of each part, which must cover all in order."""
    total = len(genotypes)
    done = 0
    for start, metrics in evaluate(genotypes):
        lengths = {name: len(values) for name, values in metrics.items()}
        count = max(lengths.values(), default=0)
        fits = start == done and 0 < count <= total - done
        if not fits or len(set(lengths.values())) > 1:
            raise ValueError(
                f"evaluate gave values from row {start} on ({lengths}), where rows "
                f"{done} to {total} were still open; give all metrics of a few rows "
                "at a time, in order"
            )
        yield start, count, metrics
        done += count
    if done < total:
        raise ValueError(f"evaluate gave metrics for {done} of {total} rows")
