"""Ray Tune drives searches by gradient: one trial for each set of bounds and seed.

A trial is light; its searcher is an actor with the trial's share of the machine, which
keeps its compiled programs for the next trial. Trials run side by side where there is
room. What they evaluate goes to the archive of the run, as that of all other searches.

A trial that is lost, with its searcher or alone, begins again: its steps are the same
ones, and what it evaluated is answered from the archive.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler
from typing_extensions import override

from nas.gradient.descent import Descent, Round
from nas.gradient.searcher import GradientTask, Searcher
from search.tune import keep_archive, run_trials
from search.workers import Crew, RemoteArchive, Weights, Workers

OnRound = Callable[[Descent, Round, Crew], None]
"""Told of a descent after a round, and of the searchers."""

GRACE = 4
"""A descent is left alone for this part of its steps."""

REDUCTION = 2.0
"""At each rung one in so many descents of the same bounds goes on."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Job:
    """What every trial is given beside its descent."""

    task: GradientTask
    weights: "ray.ObjectRef[Weights]"
    archive: Any
    workers: Workers
    searcher: type[Any]


class _DescentTrial(tune.Trainable):
    """A Tune trial that does descents, a round in each iteration."""

    @override
    def setup(self, config: dict[str, Any], **parameters: _Job) -> None:
        job = parameters["job"]
        resources = dict(job.workers.resources)
        actor = ray.remote(job.searcher).options(
            num_cpus=resources.pop("CPU", 0),
            num_gpus=resources.pop("GPU", 0),
            resources=resources,
            runtime_env={"env_vars": dict(job.workers.environment)},
        )
        archive = RemoteArchive(job.archive)
        self._searcher: Any = actor.remote(job.task, archive, job.weights)
        self._begin(config)

    @override
    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        ray.get(self._searcher.begin.remote(config["descent"]))

    @override
    def step(self) -> dict[str, Any]:
        told: Round | None = ray.get(self._searcher.advance.remote())
        if told is None:
            return {"done": True}
        return {"round": told, "steps": told.steps, "best": told.best}

    @override
    def cleanup(self) -> None:
        ray.kill(self._searcher)


class AmongSeeds(FIFOScheduler):
    """Stops descents that are behind those of other seeds within the same bounds.

    Tight bounds have worse losses than loose ones, so each set of bounds has rungs of
    its own: asynchronous successive halving (ASHA, Li et al. 2020, Algorithm 2). Which
    of several descents that run side by side is stopped depends on which is first at a
    rung.

    Args:
        steps: Of a whole descent.

    References:
        Li et al., "A system for massively parallel hyperparameter tuning", 2020,
        https://arxiv.org/abs/1810.05934.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._steps = steps
        self._rungs: dict[int, ASHAScheduler] = {}

    def _of(self, trial: Trial) -> ASHAScheduler:
        number = trial.config["descent"].number
        if number not in self._rungs:
            self._rungs[number] = ASHAScheduler(
                time_attr="steps",
                metric="best",
                mode="min",
                max_t=self._steps,
                grace_period=max(self._steps // GRACE, 1),
                reduction_factor=REDUCTION,
                # Those that arrive go on to what comes after the last step.
                stop_last_trials=False,
            )
        return self._rungs[number]

    @override
    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        self._of(trial).on_trial_add(tune_controller, trial)

    @override
    def on_trial_result(
        self, tune_controller: Any, trial: Trial, result: dict[str, Any]
    ) -> str:
        return self._of(trial).on_trial_result(tune_controller, trial, result)

    @override
    def on_trial_complete(
        self, tune_controller: Any, trial: Trial, result: dict[str, Any]
    ) -> None:
        self._of(trial).on_trial_complete(tune_controller, trial, result)

    @override
    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        self._of(trial).on_trial_remove(tune_controller, trial)


def run_descents(
    task: GradientTask,
    descents: Sequence[Descent],
    *,
    weights: Weights,
    workers: Workers,
    archive: Path,
    storage: Path,
    on_round: OnRound,
    searcher: type[Any] = Searcher,
) -> None:
    """Runs descents on the Ray that this process is connected to.

    What they evaluate is in the archive.

    Args:
        task: What they have in common.
        descents: What is run, one trial each.
        weights: Of the supernet, handed on through the object store.
        workers: What each trial needs; how many run side by side is up to the cluster.
        archive: File of JSON lines on this machine.
        storage: Folder on this machine for Tune's own files.
        on_round: Told of every round; by a trial that was lost a second time.
        searcher: Does descents, as an actor; importable on all machines.

    Raises:
        CampaignError: If a descent failed; what was evaluated is kept.
    """
    job = _Job(
        task=task,
        weights=ray.put(dict(weights)),
        archive=keep_archive(archive),
        workers=workers,
        searcher=searcher,
    )
    several = len({descent.seed for descent in descents}) > 1
    scheduler = AmongSeeds(task.spec.steps) if several and task.spec.prune else None

    def pass_on(
        trials: Sequence[Trial], trial: Trial, result: Mapping[str, Any]
    ) -> None:
        if (told := result.get("round")) is not None:
            running = sum(other.status == Trial.RUNNING for other in trials)
            restarts = sum(other.num_failures for other in trials)
            crew = Crew(count=running, alive=running, restarts=restarts)
            on_round(trial.config["descent"], told, crew)

    run_trials(
        _DescentTrial,
        job,
        {"descent": descents},
        # The trial itself only waits for its searcher.
        resources=tune.PlacementGroupFactory([{}, dict(workers.resources)]),
        storage=storage,
        on_result=pass_on,
        called="searches by gradient",
        scheduler=scheduler,
    )
