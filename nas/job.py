"""The job: six named stages over one run directory, each resumed or skipped."""

import dataclasses
import importlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import rich.box
from rich.console import Console
from rich.table import Table

from nas.allocator import keep_memory
from nas.data.dataset import score_in_words
from nas.errors import UsageError
from nas.experiment import Experiment
from nas.front import Member, load_front
from nas.hosts import ALONE, Hosts
from nas.metrics import make_problem, require_askable
from nas.rundir import RunDirectory, short_path
from nas.stages.context import Context
from nas.training.sources import check_sources

CLAIMED = "the run directory is claimed"
"""Where processes that train together meet first."""

STAGES = ("train", "calibrate", "search", "verify", "export", "report")
"""In order; each is a module of `nas.stages` with a function of the same name."""


def run_stages(
    experiment: Experiment,
    out: Path,
    stages: Sequence[str],
    *,
    console: Console,
    command: str,
    latency_profile: Path | None = None,
    ray_address: str | None = None,
    tensorboard: bool = False,
    profile: bool = False,
    hosts: Hosts = ALONE,
    ray_workers: int | None = None,
    store: str | None = None,
) -> None:
    """Runs stages in a run directory; finished ones are skipped.

    Args:
        experiment: What the run does.
        out: Its directory.
        stages: Names of `STAGES`, in their order.
        console: Where it speaks to a person.
        command: The line that started it.
        latency_profile: See `Context`, as for what follows.
        ray_address: A cluster to search on.
        tensorboard: Whether training writes events.
        profile: Whether training writes a trace.
        hosts: The processes that train together; the first does all the rest.
        ray_workers: How many processes of Ray train, instead of this one.
        store: Where checkpoints are copied to as well.

    Raises:
        UsageError: If the directory is of another configuration, a stage before the
            first asked for has not been run, or the data or the given profile will not
            do.
        InfeasibleError: If the constraints cannot be met; said before training if the
            metric does not need a measurement.
    """
    run = RunDirectory(out)
    context = Context(
        experiment=experiment,
        run=run,
        console=console,
        command=command,
        latency_profile=latency_profile,
        ray_address=ray_address,
        tensorboard=tensorboard,
        profile=profile,
        hosts=hosts,
        ray_workers=ray_workers,
        store=store,
    )
    if not hosts.first:
        _help(context, stages)
        return
    with run.locked() as lock:
        run.check(experiment)
        context = dataclasses.replace(context, lock=lock)
        finished = run.finished()
        _require_earlier(run, stages, finished)
        if "train" not in finished:
            experiment.data.check()
            check_sources(experiment)
        if "search" not in finished:
            _require_feasible(context)
        # Claimed only now: what was refused can be corrected and given again.
        run.claim(experiment)
        hosts.meet(CLAIMED)
        if "train" not in stages or "train" in finished:
            hosts.part_ways()
        keep_memory()
        for stage in stages:
            if stage in finished and stage != "report":
                seconds = finished[stage]
                console.print(f"{stage}: done before ({seconds:.0f} s)", style="dim")
                continue
            start = time.monotonic()
            _stage(stage)(context)
            run.finish(stage, time.monotonic() - start)
            if stage == "train":
                hosts.part_ways()


def _help(context: Context, stages: Sequence[str]) -> None:
    """Takes part in the training of another process, if there is one to do."""
    context.hosts.meet(CLAIMED)
    if "train" in stages and "train" not in context.run.finished():
        context.run.check(context.experiment)
        keep_memory()
        _stage("train")(context)
    context.hosts.part_ways()


def _stage(name: str) -> Callable[[Context], None]:
    # Imported when it is run, so that looking at a run starts no network library.
    return getattr(importlib.import_module(f"nas.stages.{name}"), name)


def _require_earlier(
    run: RunDirectory, stages: Sequence[str], finished: dict[str, float]
) -> None:
    for stage in STAGES[: STAGES.index(stages[0])]:
        if stage not in finished:
            raise UsageError(
                f"{run.path}: the stage '{stage}' has not been run, and "
                f"'{stages[0]}' needs it; `nas run` does everything that is missing"
            )


def _require_feasible(context: Context) -> None:
    """Says before anything is spent that constraints cannot be met."""
    problem = make_problem(context.experiment, context.given_profile())
    problem.require_feasible(np.random.default_rng(context.experiment.seed))
    require_askable(context.experiment, problem)


def print_front(run: RunDirectory, console: Console) -> None:
    """Prints the table of subnets that a run ends with."""
    front, experiment = load_front(run.front), run.experiment()
    # As narrow as it can be said: a table has little room.
    unit = experiment.data.loss_unit.replace(" per ", "/")
    table = Table(box=rich.box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("subnet", style="bold", no_wrap=True)
    for name in experiment.shown:
        title = f"test {score_in_words(name)}".replace(" of ", "\nof ")
        measure = unit if name.startswith("loss") else "share"
        table.add_column(f"{title}\n{measure}", justify="right")
    for heading in ("latency\nms", "parameters\n"):
        table.add_column(heading, justify="right")
    for member in front:
        table.add_row(*_row(run, member, experiment.shown))
    console.print(f"Pareto front in {short_path(run.path)}:", highlight=False)
    console.print(table)
    console.print(f"report: {short_path(run.report)}", highlight=False)


def _row(run: RunDirectory, member: Member, shown: tuple[str, ...]) -> tuple[str, ...]:
    metrics = member.metrics
    return (
        f"{run.subnets.name}/{member.id}",
        *(f"{metrics[f'test_{name}']:.3f}" for name in shown),
        f"{metrics['latency_ms']:.2f}",
        f"{metrics['params']:,.0f}",
    )
