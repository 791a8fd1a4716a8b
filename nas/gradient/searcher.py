"""The process that moves the architecture, and evaluates what it stands for."""

import dataclasses
import math
import time
from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from nas.allocator import keep_memory
from nas.evaluation import MakeEvaluate
from nas.experiment import Experiment
from nas.gradient.descent import Descent, Round, within_means
from nas.metrics import CheapMetrics
from search.answering import ArchiveLike, answered
from search.archive import Record
from search.fidelity import WHOLE
from search.problem import Metrics, Problem
from search.space import Genotypes
from search.workers import CHUNK, Weights
from supernets.gradient_search.specs import GradientSearch

if TYPE_CHECKING:
    from supernets.gradient_search.search import Found
    from supernets.gradient_search.state import Batches
    from supernets.gradient_search.step import CompiledSearchStep
    from supernets.weights import Params


@dataclasses.dataclass(frozen=True, kw_only=True)
class GradientTask:
    """What all descents of a search have in common.

    Attributes:
        experiment: Of the run.
        spec: How it is searched.
        problem: What is searched.
        cheap: Its cheap metrics, of which some are bounded.
        bounded: Their names.
    """

    experiment: Experiment
    spec: GradientSearch
    problem: Problem
    cheap: CheapMetrics
    bounded: tuple[str, ...]

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        problem: Problem,
        cheap: CheapMetrics,
        spec: GradientSearch,
        descent: Descent,
    ) -> "GradientTask":
        """Returns what descents that bound and look at as much as a given one do."""
        return cls(
            experiment=experiment,
            spec=within_means(spec, descent.looks),
            problem=problem,
            cheap=cheap,
            bounded=tuple(descent.limits),
        )

    @property
    def score(self) -> str:
        """The metric by which subnets are compared: the first score searched for.

        The architecture follows the gradient of the loss in any case: an error has
        none.
        """
        return self.experiment.shown[0]

    def prices(self) -> dict[str, "Price"]:
        """Returns what is bounded as functions of canonical genotypes."""
        return {name: Price(self.cheap.only([name]), name) for name in self.bounded}


@dataclasses.dataclass(frozen=True)
class Price:
    """One of the cheap metrics.

    Attributes:
        cheap: Several, among them this one.
        name: Which.
    """

    cheap: CheapMetrics
    name: str

    def __call__(self, genotypes: Genotypes) -> Float[np.ndarray, " population"]:
        """Returns it for canonical genotypes."""
        return self.cheap(genotypes)[self.name]


class Searcher:
    """Does one descent after the other with the same compiled programs.

    It is an actor on Ray; benchmarks use it in their own process.

    Attributes:
        archive: Answers what was evaluated before, and keeps what is new.
    """

    def __init__(
        self, task: GradientTask, archive: ArchiveLike, weights: Weights
    ) -> None:
        keep_memory()
        # Imported here: only this process starts an array library.
        import jax
        from flax import nnx

        from nas.gradient.examples import architecture_examples
        from supernets.gradient_search.network import mixed_network
        from supernets.gradient_search.step import make_search_step
        from supernets.weights import set_weights

        experiment, train = task.experiment, task.experiment.train
        model = experiment.model
        supernet = nnx.eval_shape(lambda: model.build(rngs=nnx.Rngs(0)))
        network = mixed_network(supernet, compute=train.compute, remat=train.remat)
        set_weights(supernet, weights)
        self._params: Params = jax.device_put(nnx.state(supernet, nnx.Param))
        self._step: CompiledSearchStep = make_search_step(
            network, model.space(), task.spec, task.prices()
        )
        self._examples = architecture_examples(
            experiment.data,
            evaluated=experiment.search.examples,
            size=task.spec.batch,
            trained=train.steps,
        )
        self._score = MakeEvaluate(experiment)(weights)
        self._task, self.archive = task, archive
        self._looked: list[Record] = []

    def begin(self, descent: Descent) -> None:
        """Starts a descent; what was going on is left."""
        self._descent, self._began = descent, time.monotonic()
        self._rounds, self._number = self._search(descent), 0
        self._seen, self._best = 0, math.inf

    def advance(self) -> Round | None:
        """Goes on until subnets were looked at again; returns none at the end.

        Raises:
            ValueError: If no subnet within the bounds was found.
        """
        seconds = self._descent.seconds
        late = seconds is not None and time.monotonic() - self._began > seconds
        # The first is looked at in any case.
        if late and self._number:
            return None
        try:
            steps = next(self._rounds)
        except StopIteration:
            return None
        records = tuple(self._looked)
        self._looked.clear()
        held = [r.metrics for r in records if _within(r, self._descent.limits)]
        scores = (metrics[self._task.score] for metrics in held)
        self._best = min([self._best, *scores])
        self._number += 1
        return Round(self._number - 1, steps, records, self._best)

    def _search(self, descent: Descent) -> Generator[int, None, "Found"]:
        import jax

        from supernets.gradient_search.search import rounds

        key = jax.random.fold_in(jax.random.key(descent.seed), descent.number)
        first, steps = jax.random.split(key)
        return rounds(
            self._step,
            self._step.initial_state(self._params, key=first),
            self._batches,
            descent.limits,
            self._evaluate,
            key=steps,
            most=descent.looks,
        )

    def _batches(self, step: int) -> "Batches":
        import jax
        import jax.numpy as jnp

        from supernets.gradient_search.state import Batches
        from supernets.losses.loss import Batch

        examples = self._examples(step, seed=self._descent.seed)
        arrays = jax.tree.map(jnp.asarray, tuple(examples))
        return Batches(architecture=Batch(*arrays))

    def _evaluate(
        self,
        params: "Params",  # noqa: ARG002 - weights stand still
        genotypes: Genotypes,
    ) -> Float[np.ndarray, " population"]:
        """Returns scores, from the archive where it has them."""
        task, descent = self._task, self._descent
        start = descent.number * descent.looks + self._seen
        records = answered(
            task.problem,
            self._in_chunks,
            self.archive,
            genotypes,
            name=descent.campaign,
            indices=start + np.arange(len(genotypes)),
        )
        self._seen += len(records)
        self._looked += records
        return np.asarray([record.metrics[task.score] for record in records])

    def _in_chunks(self, genotypes: Genotypes) -> Iterator[tuple[int, Metrics]]:
        for start in range(0, len(genotypes), CHUNK):
            yield start, self._score(genotypes[start : start + CHUNK], WHOLE)


def _within(record: Record, limits: Mapping[str, float]) -> bool:
    return all(record.metrics[name] <= limit for name, limit in limits.items())
