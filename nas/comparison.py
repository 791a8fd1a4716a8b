"""Several runs beside each other: their fronts, hypervolumes and configurations."""

import dataclasses
import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from rich.console import Console

from nas.config import Encoded, disagreements, encode
from nas.errors import RunError, UsageError
from nas.experiment import Experiment
from nas.front import Member, cheapest_first, costs_of, load_front
from nas.report.comparison import ComparedRun, Comparison, Point, write_comparison
from nas.rundir import RunDirectory, read_json, short_path
from search.pareto import hypervolume

MARGIN = 0.1
"""How far behind the worst of all fronts the hypervolume's reference lies, as a share
of their spread."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contender:
    """One of the runs that are compared.

    Attributes:
        run: Its directory.
        config: As it is stored.
        experiment: What it did.
        front: What it found, at least one subnet.
    """

    run: RunDirectory
    config: Encoded
    experiment: Experiment
    front: tuple[Member, ...]

    @classmethod
    def load(cls, path: Path) -> "Contender":
        """Reads a run, or results that were set aside.

        Raises:
            UsageError: If it cannot be read, or was not searched.
        """
        run = RunDirectory(path)
        try:
            experiment, config = run.experiment(), run.read_config()
            front = cheapest_first(load_front(run.front), costs_of(experiment)[0])
        except (OSError, RunError) as error:
            raise UsageError(f"{path} cannot be read ({error})") from error
        if not front:
            raise UsageError(f"{run.front} holds no subnet: search this run again")
        wanted = {*experiment.search.objectives, experiment.shown[0]}
        wanted |= set(costs_of(experiment))
        for member in front:
            if missing := sorted(wanted - member.metrics.keys()):
                raise UsageError(
                    f"{run.front}: subnet {member.id} has no {missing[0]!r}; search "
                    "this run again"
                )
        return cls(run=run, config=config, experiment=experiment, front=tuple(front))

    @property
    def whole(self) -> RunDirectory:
        """The run that results belong to, if they were set aside in it."""
        above = RunDirectory(self.run.path.parent.parent)
        set_aside = self.run.path.parent == above.earlier and above.config.exists()
        return above if set_aside else self.run

    def objectives(self) -> Float[np.ndarray, "members objectives"]:
        """Returns what was minimised, of every member."""
        names = self.experiment.search.objectives
        return np.asarray([[m.metrics[n] for n in names] for m in self.front], float)


def compare(paths: Sequence[Path], out: Path, console: Console) -> None:
    """Writes a page that compares runs; it needs nothing beside itself.

    Args:
        paths: Of at least two run directories, or of results set aside in one.
        out: The file.
        console: Where it is told.

    Raises:
        UsageError: If a directory is given twice, cannot be read or was not searched,
            or if runs minimised different metrics or give them in different units.
    """
    _require_distinct(paths)
    contenders = [Contender.load(path) for path in paths]
    _require_comparable(contenders)
    if out.is_dir():
        raise UsageError(f"{out} is a directory; give a file, as {out}/comparison.html")
    write_comparison(gather(contenders), out)
    told = f"comparison: {short_path(out.absolute())}"
    # A path that is wrapped cannot be copied.
    console.print(told, highlight=False, soft_wrap=True)


def _require_distinct(paths: Sequence[Path]) -> None:
    if len(paths) < 2:
        raise UsageError("a comparison needs at least two run directories")
    seen: dict[Path, Path] = {}
    for path in paths:
        real = path.resolve()
        if real in seen:
            same = f" as {seen[real]}" if seen[real] != path else ""
            raise UsageError(f"{path} is given twice{same}; name each run once")
        seen[real] = path


def _require_comparable(contenders: Sequence[Contender]) -> None:
    """Refuses to draw into one picture what is not of one kind."""
    first = contenders[0]
    for other in contenders[1:]:
        for what, mine, theirs in (
            (
                "objectives",
                first.experiment.search.objectives,
                other.experiment.search.objectives,
            ),
            ("unit of the loss", _unit(first.experiment), _unit(other.experiment)),
        ):
            if mine != theirs:
                raise UsageError(
                    "runs are compared by what they minimised, in one unit, and the "
                    f"{what} differ: {mine} in {first.run.path}, {theirs} in "
                    f"{other.run.path}"
                )


def _unit(experiment: Experiment) -> str:
    """Returns the unit of the loss, if the loss is looked at."""
    looked_at = (*experiment.search.objectives, experiment.shown[0])
    used = any(name.startswith("loss") for name in looked_at)
    return experiment.data.loss_unit if used else ""


def gather(contenders: Sequence[Contender]) -> Comparison:
    """Returns what the page shows."""
    experiment = contenders[0].experiment
    points = np.concatenate([contender.objectives() for contender in contenders])
    worst, spread = points.max(0), np.ptp(points, axis=0)
    behind = np.where(spread > 0, spread, np.maximum(np.abs(worst), 1.0))
    reference = worst + MARGIN * behind
    names = _names([contender.run.path for contender in contenders])
    runs = tuple(
        ComparedRun(
            name=name,
            points=_points(contender),
            hypervolume=hypervolume(contender.objectives(), reference),
            facts=_facts(contender),
        )
        for name, contender in zip(names, contenders, strict=True)
    )
    return Comparison(
        created=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        score=experiment.shown[0],
        cost=costs_of(experiment)[0],
        loss_unit=experiment.data.loss_unit,
        reference={
            name: float(value)
            for name, value in zip(experiment.search.objectives, reference, strict=True)
        },
        runs=runs,
        differences=disagreements([contender.config for contender in contenders]),
        warnings=_warnings(contenders, names),
    )


def _names(paths: Sequence[Path]) -> list[str]:
    """Returns the shortest names that tell directories apart."""
    names = [path.name for path in paths]
    if len(set(names)) == len(names) and not any(name.isdigit() for name in names):
        return names
    return [str(short_path(path)) for path in paths]


def _points(contender: Contender) -> tuple[Point, ...]:
    score, cost = contender.experiment.shown[0], costs_of(contender.experiment)[0]
    return tuple(
        Point(
            id=member.id,
            cost=member.metrics[cost],
            score=member.metrics[score],
            tested=member.metrics.get(f"test_{score}"),
            params=member.metrics.get("params"),
        )
        for member in contender.front
    )


def _facts(contender: Contender) -> dict[str, str]:
    """Returns what a reader compares first, in words."""
    search, run = contender.experiment.search, contender.whole
    stored = read_json(run.provenance) if run.provenance.exists() else {}
    seconds = sum(run.finished().values())
    return {
        "Directory": str(short_path(contender.run.path)),
        "Constraints": ", ".join(search.constraints) or "none",
        "Algorithms": ", ".join(type(a).__name__ for a in search.algorithms),
        "Effort": f"{search.evaluations} subnets by each of "
        f"{len(search.algorithms) * search.seeds} campaigns",
        "Training": f"{contender.experiment.train.steps} steps",
        "Space": f"{contender.experiment.model.space().size} architectures",
        "Data": contender.experiment.data.title,
        "Device": str(stored.get("processor", "unknown")),
        "Git revision": str(stored.get("git") or "unknown"),
        "Duration": f"{seconds:.0f} s",
    }


def _warnings(contenders: Sequence[Contender], names: Sequence[str]) -> tuple[str, ...]:
    """Says what the runs do not have in common, though their pictures look as if."""
    told = []
    for what, values in (
        ("scores are of different data", [c.experiment.data for c in contenders]),
        (
            "scores are of different numbers of examples",
            [c.experiment.search.examples for c in contenders],
        ),
        ("latencies are of different devices", [_device(c) for c in contenders]),
        (
            "latencies are of different batches",
            [c.experiment.latency.batch for c in contenders],
        ),
    ):
        texts = [_short(value) for value in values]
        if len(set(texts)) > 1:
            each = zip(names, texts, strict=True)
            listed = "; ".join(f"{name}: {text}" for name, text in each)
            told.append(f"The {what} ({listed}).")
    return tuple(told)


def _device(contender: Contender) -> str:
    device = contender.whole.device
    return str(read_json(device).get("device")) if device.exists() else "unknown"


def _short(value: object) -> str:
    """Writes a value as its fields, which tell more than a title does."""
    encoded = encode(value)
    if not isinstance(encoded, dict):
        return str(encoded)
    fields = [f"{name} {field}" for name, field in encoded.items() if name != "type"]
    return f"{type(value).__name__}, {', '.join(fields)}"
