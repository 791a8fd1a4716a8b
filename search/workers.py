"""The long-lived workers of a search on Ray: evaluators, and the keeper of the archive.

They import no part of Ray Tune, which takes seconds to load, so they are ready sooner.

An evaluator that is lost, with its node or alone, costs what it was computing: those
genotypes go to the others, and it takes part again once Ray has started it anew, where
there is room. Only when all are lost does a search wait for one of them.
"""

import collections
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayActorError

from search.archive import Archive, Record
from search.fidelity import WHOLE, Part
from search.problem import Metrics
from search.space import Genotypes

Weights = Mapping[str, np.ndarray]
EvaluateBatch = Callable[[Genotypes, Part], Metrics]
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
        environment: Variables that are set before its process starts.
    """

    count: int
    resources: Mapping[str, float]
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Crew:
    """How the evaluators of a campaign are.

    Attributes:
        count: How many there should be.
        alive: How many are there.
        restarts: How often one was started anew since the campaign's trial began.
    """

    count: int
    alive: int
    restarts: int


class ArchiveKeeper:
    """The archive of a run; appending twice is appending once, so calls can retry."""

    def __init__(self, path: Path) -> None:
        self._archive = Archive(path)

    def lookup_many(
        self, genotypes: Genotypes, fraction: float = 1.0
    ) -> list[Record | None]:
        """Returns the record of each canonical genotype, if there is one."""
        return self._archive.lookup_many(genotypes, fraction)

    def append(self, records: Sequence[Record]) -> None:
        """Keeps the records of genotypes that have none yet."""
        self._archive.append([r for r in records if r not in self._archive])


class RemoteArchive:
    """The archive actor as a campaign sees it."""

    def __init__(self, actor: Any) -> None:  # noqa: ANN401 - Ray's handles are untyped
        self._actor = actor

    def lookup_many(
        self, genotypes: Genotypes, fraction: float = 1.0
    ) -> list[Record | None]:
        """Returns the record of each canonical genotype, if there is one."""
        return ray.get(self._actor.lookup_many.remote(genotypes, fraction))

    def append(self, records: Sequence[Record]) -> None:
        """Keeps records, and waits until they are on disk."""
        ray.get(self._actor.append.remote(records))


class Evaluator:
    """An actor that holds the weights and the compiled program."""

    def __init__(self, make_evaluate: MakeEvaluate, weights: Weights) -> None:
        self._evaluate = make_evaluate(weights)

    def evaluate(self, genotypes: Genotypes, part: Part) -> Metrics:
        """Returns the metrics of at most `CHUNK` genotypes on some of the examples."""
        return self._evaluate(genotypes, part)


Calls = dict["ray.ObjectRef[Metrics]", tuple[int, int]]
"""What is being computed: the evaluator of each call, and where its chunk starts."""


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
            runtime_env={"env_vars": dict(workers.environment)},
            max_restarts=MAX_RESTARTS,
            # A call that is lost fails at once, and another evaluator takes it over.
            max_task_retries=0,
        )
        self._actors: list[Any] = [
            actor.remote(make_evaluate, weights) for _ in range(workers.count)
        ]
        self._alive = set(range(workers.count))
        self._returning: dict[ray.ObjectRef[bool], int] = {}
        self._restarts = 0

    def crew(self) -> Crew:
        """Returns how the evaluators are.

        Raises:
            RuntimeError: If every evaluator was lost more often than it is replaced.
        """
        if returning := list(self._returning):
            back, _ = ray.wait(returning, num_returns=len(returning), timeout=0)
            for reference in back:
                self._welcome(reference)
        return Crew(len(self._actors), len(self._alive), self._restarts)

    def evaluate(
        self, genotypes: Genotypes, part: Part = WHOLE
    ) -> Iterator[tuple[int, Metrics]]:
        """Yields start and metrics of each chunk, in order.

        Args:
            genotypes: What is evaluated.
            part: On which of the examples.

        Raises:
            RuntimeError: If every evaluator was lost more often than it is replaced.
        """
        starts = range(0, len(genotypes), CHUNK)
        waiting = collections.deque(starts)
        calls: Calls = {}
        done: dict[int, Metrics] = {}
        for start in starts:
            while start not in done:
                self._submit(genotypes, part, waiting, calls)
                self._collect(waiting, calls, done)
            yield start, done.pop(start)

    def _submit(
        self,
        genotypes: Genotypes,
        part: Part,
        waiting: collections.deque[int],
        calls: Calls,
    ) -> None:
        """Keeps `IN_FLIGHT` calls at each evaluator that is there."""
        load = collections.Counter(index for index, _ in calls.values())
        for _ in range(IN_FLIGHT):
            for index in sorted(self._alive):
                if waiting and load[index] < IN_FLIGHT:
                    load[index] += 1
                    start = waiting.popleft()
                    chunk = genotypes[start : start + CHUNK]
                    call = self._actors[index].evaluate.remote(chunk, part)
                    calls[call] = (index, start)

    def _collect(
        self, waiting: collections.deque[int], calls: Calls, done: dict[int, Metrics]
    ) -> None:
        """Waits for a result, or for an evaluator that is lost or back."""
        (reference,), _ = ray.wait([*calls, *self._returning], num_returns=1)
        if reference in self._returning:
            self._welcome(reference)
            return
        index, start = calls.pop(reference)
        try:
            done[start] = ray.get(reference)
        except RayActorError:
            # First in the line, since everything after it waits for it.
            waiting.appendleft(start)
            self._lose(index)

    def _lose(self, index: int) -> None:
        if index in self._alive:
            self._alive.remove(index)
            ready = self._actors[index].__ray_ready__.options(max_task_retries=-1)
            self._returning[ready.remote()] = index

    def _welcome(self, reference: "ray.ObjectRef[bool]") -> None:
        """Takes an evaluator back, or gives it up."""
        index = self._returning.pop(reference)
        try:
            ray.get(reference)
        except RayActorError as error:
            if not self._alive and not self._returning:
                raise RuntimeError(
                    f"all {len(self._actors)} evaluators were lost, each of them up to "
                    f"{MAX_RESTARTS + 1} times; the last one: {error}"
                ) from error
            return
        self._alive.add(index)
        self._restarts += 1

    def close(self) -> None:
        """Ends the evaluators."""
        for actor in self._actors:
            ray.kill(actor)
