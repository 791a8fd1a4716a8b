"""The long-lived workers of a search on Ray: evaluators, and the keeper of the archive.

They import no part of Ray Tune, which takes seconds to load, so they are ready sooner.
"""

import collections
import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray

from search.archive import Archive, Record
from search.problem import Metrics
from search.space import Genotypes

Weights = Mapping[str, np.ndarray]
EvaluateBatch = Callable[[Genotypes], Metrics]
MakeEvaluate = Callable[[Weights], EvaluateBatch]

CHUNK = 8
"""Genotypes in one call to an evaluator: what a killed search can lose."""

IN_FLIGHT = 2
"""Calls queued at each evaluator, so that it never waits for the campaign."""

MAX_RESTARTS = 3
"""How often a lost worker is replaced before its campaign gives up."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workers:
    """The evaluators of a campaign.

    Attributes:
        count: How many there are, one for each accelerator.
        resources: What each one needs, as ``{"CPU": 2}`` or ``{"CPU": 1, "GPU": 1}``.
    """

    count: int
    resources: Mapping[str, float]


class ArchiveKeeper:
    """The archive of a run; appending twice is appending once, so calls can retry."""

    def __init__(self, path: Path) -> None:
        self._archive = Archive(path)

    def lookup_many(self, genotypes: Genotypes) -> list[Record | None]:
        """Returns the record of each canonical genotype, if there is one."""
        return self._archive.lookup_many(genotypes)

    def append(self, records: Sequence[Record]) -> None:
        """Keeps the records of genotypes that have none yet."""
        genotypes = np.asarray([record.genotype for record in records], np.int32)
        known = self._archive.lookup_many(genotypes)
        fresh = [r for r, old in zip(records, known, strict=True) if old is None]
        self._archive.append(fresh)


class RemoteArchive:
    """The archive actor as a campaign sees it."""

    def __init__(self, actor: Any) -> None:  # noqa: ANN401 - Ray's handles are untyped
        self._actor = actor

    def lookup_many(self, genotypes: Genotypes) -> list[Record | None]:
        """Returns the record of each canonical genotype, if there is one."""
        return ray.get(self._actor.lookup_many.remote(genotypes))

    def append(self, records: Sequence[Record]) -> None:
        """Keeps records, and waits until they are on disk."""
        ray.get(self._actor.append.remote(records))


class Evaluator:
    """An actor that holds the weights and the compiled program."""

    def __init__(self, make_evaluate: MakeEvaluate, weights: Weights) -> None:
        self._evaluate = make_evaluate(weights)

    def evaluate(self, genotypes: Genotypes) -> Metrics:
        """Returns the metrics of at most `CHUNK` genotypes."""
        return self._evaluate(genotypes)


class EvaluatorPool:
    """Evaluators that share a batch chunk by chunk; results come back in order."""

    def __init__(
        self,
        workers: Workers,
        make_evaluate: MakeEvaluate,
        weights: "ray.ObjectRef[Weights]",
    ) -> None:
        resources = dict(workers.resources)
        actor = ray.remote(Evaluator).options(
            num_cpus=resources.pop("CPU", 0),
            num_gpus=resources.pop("GPU", 0),
            resources=resources,
            max_restarts=MAX_RESTARTS,
            max_task_retries=MAX_RESTARTS,
        )
        self._actors: list[Any] = [
            actor.remote(make_evaluate, weights) for _ in range(workers.count)
        ]

    def evaluate(self, genotypes: Genotypes) -> Iterator[tuple[int, Metrics]]:
        """Yields start and metrics of each chunk, in order."""
        starts = iter(range(0, len(genotypes), CHUNK))
        turns = itertools.cycle(self._actors)
        pending: collections.deque[tuple[int, ray.ObjectRef[Metrics]]]
        pending = collections.deque()

        def submit(count: int) -> None:
            for start in itertools.islice(starts, count):
                chunk = genotypes[start : start + CHUNK]
                pending.append((start, next(turns).evaluate.remote(chunk)))

        submit(IN_FLIGHT * len(self._actors))
        while pending:
            start, reference = pending.popleft()
            yield start, ray.get(reference)
            submit(1)

    def close(self) -> None:
        """Ends the evaluators."""
        for actor in self._actors:
            ray.kill(actor)
