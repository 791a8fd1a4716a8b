"""Stage 7: gather what the run directory holds into the report."""

import dataclasses
import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from nas import report as page
from nas.campaigns import algorithm_of
from nas.data.dataset import Dataset, in_words
from nas.experiment import Experiment
from nas.export import AGAINST
from nas.front import (
    FINETUNED,
    NOTABLE_MISS,
    Member,
    cheapest_first,
    costs_of,
    load_front,
    load_landmarks,
)
from nas.latency.devices import stored_devices
from nas.metric_names import metric_of
from nas.metrics import make_problem
from nas.predictors import judge_predictors
from nas.profile import LatencyProfile
from nas.rundir import RunDirectory, read_json, short_path, write_json
from nas.stages.context import Context
from nas.training.phases import phase_marks
from nas.training.record import training_curves, training_warnings, validation_curves
from search.archive import Archive
from search.latency_model import PredictionError
from search.problem import Problem
from search.space import Architecture, Space

LOADER = """\
import jax
import numpy as np
from safetensors.numpy import load_file

folder = "{folder}"
weights = load_file(f"{{folder}}/model.safetensors")
with open(f"{{folder}}/model.stablehlo", "rb") as file:
    network = jax.export.deserialize(bytearray(file.read()))
{inputs}
logits = network.call(weights, inputs)  # {shapes}"""
"""Ten lines that run an exported subnet with nothing of this project."""

TOKENS = (
    'inputs = np.frombuffer(b"import os\\nimport ", np.uint8).astype(np.int32)[None]'
)


def report(context: Context) -> None:
    """Writes ``report.html``, ``front.png`` and ``predictors.json``."""
    data = gather(context)
    if data.predictors is not None:
        write_json(context.run.predictors, dataclasses.asdict(data.predictors))
    page.write_report(data, context.run.path)
    context.tell(f"report: {context.run.report}")


def gather(context: Context) -> page.ReportData:
    """Returns everything the report shows."""
    experiment, run = context.experiment, context.run
    profile = LatencyProfile.load(run.device)
    devices = stored_devices(run)
    problem = make_problem(experiment, profile, devices)
    costs, score = costs_of(experiment), experiment.shown[0]
    front = cheapest_first(load_front(run.front), costs[0])
    seconds = run.finished()
    bounds = {b.metric: b.limit for b in problem.bounds if not b.at_least}
    return page.ReportData(
        title=run.path.name,
        command=context.command,
        created=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        facts=_facts(run, experiment.data, seconds),
        space_size=str(problem.space.size),
        axes=_axes(problem.space),
        extremes=_extremes(run, costs[0], score),
        constraints=_constraints(experiment, problem),
        costs=costs,
        bound=bounds.get(costs[0]),
        loss_unit=experiment.data.loss_unit,
        shown=experiment.shown,
        training=training_curves(run),
        validation=validation_curves(run),
        phases=phase_marks(experiment.plan()),
        warnings=(*training_warnings(run, experiment.data.loss_unit), *_misses(front)),
        campaigns=_campaigns(run),
        archive=_archive(run, problem, costs[0], score),
        front=tuple(_member(run, member) for member in front),
        latency=_latency(experiment, profile),
        devices=tuple(_named(experiment, *device) for device in devices.items()),
        further=_further(experiment, devices),
        predictors=judge_predictors(experiment, Archive(run.archive).records),
        stages=tuple(seconds.items()),
        load_snippet=loader(experiment.data, short_path(run.subnets / front[0].id)),
    )


def loader(data: Dataset, folder: Path) -> str:
    """Returns `LOADER` for an exported subnet.

    Args:
        data: What it was trained on.
        folder: Where it lies.
    """
    if len(data.example) == 1:
        inputs, outer = TOKENS, "(batch, tokens, {})"
    else:
        shape = (1, *data.example)
        inputs, outer = f"inputs = np.zeros({shape}, np.{data.dtype})", "(batch, {})"
    if isinstance(data.classes, int):
        shapes = outer.format(data.classes)
    else:
        tasks = (f"{t}: {outer.format(count)}" for t, count in data.classes.items())
        shapes = f"by task, {', '.join(tasks)}"
    return LOADER.format(folder=folder, inputs=inputs, shapes=shapes)


def _constraints(experiment: Experiment, problem: Problem) -> tuple[str, ...]:
    """Returns the absolute bounds in words, with the share that was asked for."""
    asked = {(b.metric, b.at_least): b for b in experiment.search.bounds}
    words = []
    for bound in problem.bounds:
        sign = ">=" if bound.at_least else "<="
        share = asked[bound.metric, bound.at_least]
        note = f" ({share.limit:g}% of the largest)" if share.percent else ""
        words.append(f"{bound.metric} {sign} {bound.limit:.4g}{note}")
    return tuple(words)


def _facts(
    run: RunDirectory, data: Dataset, seconds: Mapping[str, float]
) -> dict[str, str]:
    stored = read_json(run.provenance)
    packages = stored["packages"]
    versions = packages.items() if isinstance(packages, dict) else ()
    facts = {
        "Processor": str(stored["processor"]),
        "Devices": f"{stored['backend']}: {stored['devices']}",
        "Seed": str(stored["seed"]),
        "Data": f"{data.title}, {stored['data']}",
        "Python": str(stored["python"]),
        "Git revision": str(stored["git"]) or "not in a checkout",
        "Duration": f"{sum(seconds.values()):.0f} s",
    }
    return facts | {name: str(version) for name, version in versions}


def _axes(space: Space) -> tuple[page.Axis, ...]:
    axes = [
        page.Axis(
            name=choice.name,
            values=choice.values,
            scope="per layer" if choice.per_layer else "global",
        )
        for choice in space.choices
    ]
    if space.depth is not None:
        depth = page.Axis(
            name="depth", values=space.depth.values, scope=space.depth.rule
        )
        axes.insert(0, depth)
    return tuple(axes)


def _extremes(run: RunDirectory, cost: str, score: str) -> tuple[page.Extreme, ...]:
    return tuple(
        page.Extreme(
            label=landmark.label,
            arch=landmark.arch.to_json(),
            params=round(landmark.metrics["params"]),
            macs=round(landmark.metrics["macs"]),
            memory_mb=landmark.metrics["memory_mb"],
            id=landmark.arch.id,
            known=page.Landmark(
                landmark.metrics[cost],
                landmark.metrics[score],
                landmark.measured,
            ),
        )
        for landmark in load_landmarks(run.landmarks)
    )


def _campaigns(run: RunDirectory) -> tuple[page.Campaign, ...]:
    campaigns = []
    for name, history in read_json(run.campaigns).items():
        if isinstance(history, dict):
            campaigns.append(
                page.Campaign(
                    name=name,
                    algorithm=algorithm_of(name),
                    evaluations=tuple(history["evaluations"]),
                    hypervolume=tuple(history["hypervolume"]),
                )
            )
    return tuple(campaigns)


def _archive(
    run: RunDirectory, problem: Problem, cost: str, score: str
) -> tuple[page.Evaluated, ...]:
    return tuple(
        page.Evaluated(
            cost=record.metrics[cost],
            score=record.metrics[score],
            campaign=record.campaign,
            algorithm=algorithm_of(record.campaign),
            id=Architecture.from_json(record.arch).id,
        )
        for record in problem.completed(Archive(run.archive).records)
    )


def _member(run: RunDirectory, member: Member) -> page.Member:
    folder = run.subnets / member.id
    tuned = any(name.startswith(FINETUNED) for name in member.metrics)
    checks = read_json(folder / "verification.json")["files"]
    worst = max(_told(checks, "largest_difference"))
    verification = f"logits within {worst:.1e} of {AGAINST[member.weights]}'s"
    # Of rounded activations no two programs agree: see nas.export_checks.
    for difference in _told(checks, "in_integers"):
        verification += f" with products in floats, {difference:.1e} in integers"
    return page.Member(
        id=member.id,
        arch=member.arch.to_json(),
        metrics=member.metrics,
        predicted=member.predicted,
        why=member.why,
        path=str(folder.relative_to(run.path)),
        files=tuple(sorted(entry.name for entry in folder.iterdir())),
        verification=verification,
        weights=member.weights if tuned else "",
    )


def _told(checks: object, name: str) -> Iterator[float]:
    """Yields what each file, of each task, tells under a name."""
    for key, value in checks.items() if isinstance(checks, dict) else ():
        if key == name:
            yield float(value)
        yield from _told(value, name)


def _stated(error: PredictionError) -> page.LatencyError:
    return page.LatencyError(**dataclasses.asdict(error))


def _latency(experiment: Experiment, profile: LatencyProfile) -> page.LatencyFit:
    space = experiment.model.space()
    shape = (-1, space.genes)
    measured = [m.genotype for m in profile.measurements]
    genotypes = np.asarray(measured, np.int32).reshape(shape)
    predicted = profile.predict(genotypes, experiment.model)
    samples = tuple(
        page.LatencySample(
            id=space.decode(genotype).id,
            measured_ms=measurement.latency_ms,
            predicted_ms=float(value),
            held_out=measurement.role == "held_out",
        )
        for genotype, measurement, value in zip(
            genotypes, profile.measurements, predicted, strict=True
        )
        # The front is in its own table; the stated error is of the held-out subnets.
        if measurement.role != "front"
    )
    error = profile.error
    return page.LatencyFit(
        device=profile.device,
        inputs=f"{in_words(profile.batch, profile.example)}, float32",
        samples=samples,
        error=None if error is None else _stated(error),
        source="given to the run" if profile.given else "measured here",
        kind=profile.kind,
    )


def _named(
    experiment: Experiment, name: str, profile: LatencyProfile
) -> page.LatencyFit:
    fit = _latency(experiment, profile)
    device = name if name == fit.device else f"{name} ({fit.device})"
    return dataclasses.replace(fit, device=device, source="given to the run")


def _further(
    experiment: Experiment, devices: Iterable[str]
) -> tuple[tuple[str, str, str], ...]:
    """Returns name, title and unit of the metrics that this run has beyond others."""
    latencies = ((metric_of(name), f"Latency, {name}", "ms") for name in devices)
    own = ((name, name, "") for name in experiment.search.own)
    return (*latencies, *own)


def _misses(front: Sequence[Member]) -> Iterator[str]:
    """Yields a warning for each metric that was predicted wrong."""
    wrong: dict[str, list[Member]] = {}
    for member in front:
        for metric in member.misses:
            wrong.setdefault(metric, []).append(member)
    for metric, members in wrong.items():
        names = ", ".join(member.id for member in members)
        yield (
            f"{metric} of {len(members)} of {len(front)} subnets was predicted more "
            f"than {NOTABLE_MISS:.0%} off ({names}). The front has it as measured; "
            "whatever is not on it was judged by such predictions."
        )
