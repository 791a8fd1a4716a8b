"""Ray Tune drives search campaigns: one trial is one whole campaign.

A trial for each subnet would spend its time starting and stopping: Tune runs tens of
trials a second and drops idle workers between generations. So a trial is a campaign
(algorithm x seed), a Tune iteration is one of its generations, and inside it batches of
genotypes go to long-lived evaluator actors that keep the weights and the compiled
program. Trials reuse their process, so the next campaign finds its evaluators warm.

What was evaluated is kept by one archive actor beside the driver, line by line on disk.
A trial that restarts, on another node or after the driver died, replays from it. So
trials save no checkpoints, and no node but the driver's ever sees the run's directory:
a cluster needs no shared disk.
"""

import dataclasses
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
from jaxtyping import Float
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from typing_extensions import override

from search.algorithm import Algorithm
from search.campaign import Progress, generations
from search.fidelity import Rungs, SuccessiveHalving
from search.problem import Problem
from search.stopping import Stop
from search.workers import (
    MAX_RESTARTS,
    ArchiveKeeper,
    Crew,
    EvaluatorPool,
    MakeEvaluate,
    RemoteArchive,
    Weights,
    Workers,
)

OnProgress = Callable[[Progress, Crew], None]
"""Told of a campaign after a generation, and of its evaluators."""

OnResult = Callable[[Sequence[Trial], Trial, Mapping[str, Any]], None]
"""Told of all trials, the one that reports, and what it reports."""


class CampaignError(RuntimeError):
    """A campaign failed, and so did its restarts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Campaign:
    """What one trial does: an algorithm, its seed and when it ends."""

    name: str
    algorithm: Algorithm
    seed: int
    stop: Stop


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Job:
    """What every trial is given beside its campaign."""

    problem: Problem
    reference: Float[np.ndarray, " objectives"]
    make_evaluate: MakeEvaluate
    weights: "ray.ObjectRef[Weights]"
    archive: Any
    workers: Workers
    halving: SuccessiveHalving | None


class _CampaignTrial(tune.Trainable):
    """A Tune trial that runs campaigns, a generation in each iteration."""

    @override
    def setup(self, config: dict[str, Any], **parameters: _Job) -> None:
        self._job = job = parameters["job"]
        self._pool = EvaluatorPool(job.workers, job.make_evaluate, job.weights)
        self._generations = self._begin(config)

    @override
    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._generations = self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> Generator[Progress, None, object]:
        campaign: Campaign = config["campaign"]
        return generations(
            self._job.problem,
            campaign.algorithm,
            self._pool.evaluate
            if self._job.halving is None
            else Rungs(self._job.halving, self._pool.evaluate),
            RemoteArchive(self._job.archive),
            name=campaign.name,
            seed=campaign.seed,
            budget=campaign.stop,
            reference=self._job.reference,
        )

    @override
    def step(self) -> dict[str, Any]:
        progress = next(self._generations, None)
        if progress is None:
            return {"done": True}
        return {
            "progress": progress,
            "crew": self._pool.crew(),
            "hypervolume": progress.hypervolume,
        }

    @override
    def cleanup(self) -> None:
        self._pool.close()


class _Listener(tune.Callback):
    """Passes on what trials report, in the driver."""

    def __init__(self, on_result: OnResult) -> None:
        self._on_result = on_result

    def __getstate__(self) -> dict[str, object]:
        """Tune pickles callbacks to restore them, which is never done here."""
        return {}

    @override
    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: object,
    ) -> None:
        self._on_result(trials, trial, result)


def keep_archive(path: Path) -> Any:  # noqa: ANN401 - Ray's handles are untyped
    """Starts the keeper of an archive beside this process, and returns its handle.

    Args:
        path: File of JSON lines on this machine.
    """
    here = NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=False
    )
    keeper = ray.remote(ArchiveKeeper).options(
        num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here
    )
    return keeper.remote(path)


def run_campaigns(
    problem: Problem,
    campaigns: Sequence[Campaign],
    *,
    reference: Float[np.ndarray, " objectives"],
    make_evaluate: MakeEvaluate,
    weights: Weights,
    workers: Workers,
    archive: Path,
    storage: Path,
    on_progress: OnProgress,
    halving: SuccessiveHalving | None = None,
) -> None:
    """Runs campaigns on the Ray that this process is connected to.

    Results are in the archive. Campaigns run side by side where the cluster has room.

    Args:
        problem: What is searched; its bounds are absolute.
        campaigns: What is run, one trial each.
        reference: Of the hypervolume, the same for all, so that they can be compared.
        make_evaluate: Makes an evaluator's function in its own process. It must be
            importable there.
        weights: Handed to it through the object store, without a copy on a CPU.
        workers: The evaluators of each campaign.
        archive: File of JSON lines on this machine.
        storage: Folder on this machine for Tune's own files.
        on_progress: Told of every generation. A trial that was lost with its node
            begins again, and tells those that it had done a second time.
        halving: Rungs of examples, if not all are evaluated on all.

    Raises:
        CampaignError: If a campaign failed; what was evaluated is kept.
    """
    job = _Job(
        problem=problem,
        reference=reference,
        make_evaluate=make_evaluate,
        weights=ray.put(dict(weights)),
        archive=keep_archive(archive),
        workers=workers,
        halving=halving,
    )
    bundles = [{"CPU": 1.0}, *(dict(workers.resources) for _ in range(workers.count))]

    def pass_on(_: Sequence[Trial], __: Trial, result: Mapping[str, Any]) -> None:
        if (progress := result.get("progress")) is not None:
            on_progress(progress, result["crew"])

    run_trials(
        _CampaignTrial,
        job,
        {"campaign": campaigns},
        resources=tune.PlacementGroupFactory(bundles),
        storage=storage,
        on_result=pass_on,
        called="campaigns",
    )


def run_trials(
    trainable: type[tune.Trainable],
    job: object,
    configs: Mapping[str, Sequence[object]],
    *,
    resources: tune.PlacementGroupFactory,
    storage: Path,
    on_result: OnResult,
    called: str,
    scheduler: TrialScheduler | None = None,
) -> None:
    """Runs Tune trials on the Ray that this process is connected to.

    One that is lost begins again, so many times.

    Args:
        trainable: What each trial is.
        job: What all of them are given, through the object store, as ``job``.
        configs: By name, what one trial each is given.
        resources: Of a trial.
        storage: Folder on this machine for Tune's own files.
        on_result: Told of every report, in this process.
        called: What trials are called, where one failed.
        scheduler: Stops trials early; none is stopped without one.

    Raises:
        CampaignError: If a trial failed.
    """
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(trainable, job=job), resources),
        param_space={
            name: tune.grid_search(list(values)) for name, values in configs.items()
        },
        tune_config=tune.TuneConfig(reuse_actors=True, scheduler=scheduler),
        run_config=tune.RunConfig(
            name=called.replace(" ", "_"),
            storage_path=str(storage),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=MAX_RESTARTS),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[_Listener(on_result)],
        ),
    )
    results = tuner.fit()
    if results.errors:
        raise CampaignError(
            f"{results.num_errors} of {len(results)} {called} failed: "
            f"{results.errors[0]}"
        )
