"""The job: seven named stages over one run directory, each resumed or skipped."""

import dataclasses
import importlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import rich.box
from rich.console import Console
from rich.table import Table

from nas.allocator import keep_memory
from nas.data.dataset import score_in_words
from nas.earlier import finish_move, has_results, lasting, set_aside
from nas.errors import UsageError
from nas.experiment import Experiment
from nas.front import (
    FINETUNED,
    RETRAINED,
    Member,
    cheapest_first,
    costs_of,
    load_front,
)
from nas.hosts import ALONE, Hosts
from nas.latency.devices import store_devices
from nas.metric_names import LATENCY, device_of
from nas.metrics import make_problem, require_askable
from nas.profile import LatencyProfile
from nas.ray_session import check_address
from nas.report.costs import cost_of
from nas.report.words import column
from nas.rundir import RunDirectory, short_path
from nas.stages.context import Context
from nas.training.sources import check_sources

CLAIMED = "the run directory is claimed"
"""Where processes that train together meet first."""

STAGES = ("train", "calibrate", "search", "verify", "finetune", "export", "report")
"""In order; each is a module of `nas.stages` with a function of the same name."""


def run_stages(
    experiment: Experiment,
    out: Path,
    stages: Sequence[str],
    *,
    console: Console,
    command: str,
    latency_profile: Path | None = None,
    device_files: Mapping[str, Path] | None = None,
    ray_address: str | None = None,
    tensorboard: bool = False,
    profile: bool = False,
    hosts: Hosts = ALONE,
    ray_workers: int | None = None,
    store: str | None = None,
) -> None:
    """Runs stages in a run directory; finished ones are skipped.

    If the search is to be another one than was done there, it is done again, and the
    results of the former one are set aside; see `nas.earlier`.

    Args:
        experiment: What the run does.
        out: Its directory.
        stages: Names of `STAGES`, in their order.
        console: Where it speaks to a person.
        command: The line that started it.
        latency_profile: See `Context`, as for what follows.
        device_files: Profiles of further devices, by name.
        ray_address: A cluster to search on.
        tensorboard: Whether training writes events.
        profile: Whether training writes a trace.
        hosts: The processes that train together; the first does all the rest.
        ray_workers: How many processes of Ray train, instead of this one.
        store: Where checkpoints are copied to as well.

    Raises:
        UsageError: If the directory is of another configuration, a stage before the
            first asked for has not been run, the search has changed and is not asked
            for, or the data, the given profile or the cluster's address will not do.
        InfeasibleError: If the constraints cannot be met; said before training if the
            metric does not need a measurement.
    """
    check_address(ray_address)
    run = RunDirectory(out)
    context = Context(
        experiment=experiment,
        run=run,
        console=console,
        command=command,
        latency_profile=latency_profile,
        device_files=device_files or {},
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
    with run.locked(context.tell) as lock:
        finish_move(run)
        run.check(experiment)
        context = dataclasses.replace(context, lock=lock)
        changes = run.search_changes(experiment) if has_results(run) else []
        finished = lasting(run.finished()) if changes else run.finished()
        _require_earlier(run, stages, finished, changes)
        if "train" not in finished:
            experiment.data.check()
            check_sources(experiment)
        if "search" not in finished:
            _require_feasible(context)
        # Changed only now: what was refused can be corrected and given again.
        if changes:
            _begin_anew(context, changes)
        devices = context.devices()
        run.claim(experiment)
        store_devices(run, devices)
        hosts.meet(CLAIMED)
        if "train" not in stages or "train" in finished:
            hosts.part_ways()
        keep_memory()
        for stage in stages:
            if stage in finished and stage != "report":
                seconds = finished[stage]
                console.print(f"{stage}: done before ({seconds:.0f} s)", style="dim")
            else:
                _do(stage, context)


def _do(stage: str, context: Context) -> None:
    """Runs a stage, and records that it is complete."""
    start = time.monotonic()
    _stage(stage)(context)
    context.run.finish(stage, time.monotonic() - start)
    if stage == "train":
        context.hosts.part_ways()


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


def _begin_anew(context: Context, changes: Sequence[str]) -> None:
    """Sets the results of the former search aside, and says so."""
    folder = set_aside(context.run)
    context.tell("another search:\n  " + "\n  ".join(changes))
    context.tell(f"results of the former one: {short_path(folder)}")


def _require_earlier(
    run: RunDirectory,
    stages: Sequence[str],
    finished: dict[str, float],
    changes: Sequence[str],
) -> None:
    if changes and "search" not in stages:
        raise UsageError(
            f"{run.path} was searched otherwise:\n  "
            + "\n  ".join(changes)
            + "\n`nas search` or `nas run` with these values searches again and keeps "
            "the former results"
        )
    for stage in STAGES[: STAGES.index(stages[0])]:
        # What is exported was fine-tuned, if it was to be: they are one command.
        if stage not in finished and stage != "finetune":
            raise UsageError(
                f"{run.path}: the stage '{stage}' has not been run, and "
                f"'{stages[0]}' needs it; `nas run` does everything that is missing"
            )


def _require_feasible(context: Context) -> None:
    """Says before anything is spent, or moved, that constraints cannot be met."""
    profile = context.given_profile()
    if profile is None and context.run.device.exists():
        profile = LatencyProfile.load(context.run.device)
    problem = make_problem(context.experiment, profile, context.devices())
    problem.require_feasible(np.random.default_rng(context.experiment.seed))
    require_askable(context.experiment, problem)


def print_front(run: RunDirectory, console: Console) -> None:
    """Prints the table of subnets that a run ends with."""
    experiment = run.experiment()
    costs = costs_of(experiment)
    front = cheapest_first(load_front(run.front), costs[0])
    # As narrow as it can be said: a table has little room.
    unit = experiment.data.loss_unit.replace(" per ", "/")
    table = Table(box=rich.box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("subnet", style="bold", no_wrap=True)
    scores = _told(front, experiment.shown)
    for name, title in scores.items():
        measure = unit if "loss" in name else "share"
        table.add_column(f"{title}\n{measure}", justify="right")
    latencies = [n for n in front[0].metrics if n == LATENCY or device_of(n)]
    spent = _spent(front, [n for n in costs if n not in (*latencies, "params")])
    for heading in spent:
        table.add_column(heading, justify="right")
    for name in latencies:
        title = (
            f"latency of\n{device_of(name)}, ms" if device_of(name) else "latency\nms"
        )
        table.add_column(title, justify="right")
    table.add_column("parameters\n", justify="right")
    for row, member in enumerate(front):
        told = [texts[row] for texts in spent.values()]
        table.add_row(*_row(run, member, scores, told, latencies))
    console.print(f"Pareto front in {short_path(run.path)}:", highlight=False)
    console.print(table)
    if run.report.exists():
        console.print(f"report: {short_path(run.report)}", highlight=False)
    else:
        again = f"`nas export {short_path(run.path)}` writes these subnets, "
        console.print(f"{again}`nas report` a page about them", highlight=False)


def _told(front: Sequence[Member], shown: Sequence[str]) -> dict[str, str]:
    """Returns the scores that a table tells, with their headings."""
    known = {name for member in front for name in member.metrics}
    told = {}
    for name in shown:
        words = score_in_words(name).replace(" of ", "\nof ")
        told[f"test_{name}"] = f"test {words}"
        for before, said in ((FINETUNED, "fine-tuned"), (RETRAINED, "retrained")):
            if f"{before}test_{name}" in known:
                told[f"{before}test_{name}"] = f"{said}\n{words}"
    return told


def _spent(front: Sequence[Member], costs: Sequence[str]) -> dict[str, list[str]]:
    """Returns what members cost, by headings with units."""
    spent = {}
    for name in costs:
        values, cost = [member.metrics.get(name) for member in front], cost_of(name)
        unit = cost.unit(values)
        texts = column([value and value / unit.size for value in values])
        spent[f"{cost.word}\n{unit.name}"] = texts
    return spent


def _row(
    run: RunDirectory,
    member: Member,
    scores: Iterable[str],
    spent: Iterable[str],
    latencies: Iterable[str],
) -> tuple[str, ...]:
    metrics, exported = member.metrics, (run.subnets / member.id).exists()
    return (
        f"{run.subnets.name}/{member.id}" if exported else member.id,
        *(f"{metrics[name]:.3f}" if name in metrics else "-" for name in scores),
        *spent,
        *(f"{metrics[name]:.2f}" for name in latencies),
        f"{metrics['params']:,.0f}",
    )
