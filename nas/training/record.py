"""What a training left behind, as its report shows it."""

from collections.abc import Iterable, Mapping

from nas.panel import load_panel
from nas.report.data import Curve
from nas.rundir import RunDirectory
from nas.training.log import TrainingRecord
from nas.training.watch import collapse_in_words


def training_curves(run: RunDirectory) -> tuple[Curve, ...]:
    """Returns the training loss of each role."""
    return _curves(TrainingRecord(run.metrics).entries("training"), {})


def validation_curves(run: RunDirectory) -> tuple[Curve, ...]:
    """Returns the validation loss of each subnet of the panel, smallest first.

    Raises:
        RunError: If the run's panel is missing or damaged.
    """
    entries = TrainingRecord(run.metrics).entries("validation")
    macs = {label: member.macs for label, member in load_panel(run.panel).items()}
    return _curves(entries, macs)


def training_warnings(run: RunDirectory, unit: str) -> tuple[str, ...]:
    """Returns what the reader of a report must know of the training.

    Args:
        run: That was trained.
        unit: Of its losses.
    """
    log = TrainingRecord(run.metrics)
    entries = log.entries("validation")
    warnings = []
    for collapse, arch in log.collapses():
        said = collapse_in_words(collapse, arch, unit)
        end = entries[-1][1][collapse.label]
        warnings.append(f"{said}; training ended with {end:.3g}.")
    return tuple(f"{text[0].upper()}{text[1:]}" for text in warnings)


def _curves(
    entries: Iterable[tuple[int, Mapping[str, float]]], macs: Mapping[str, float]
) -> tuple[Curve, ...]:
    points: dict[str, list[tuple[int, float]]] = {}
    for step, losses in entries:
        for label, loss in losses.items():
            points.setdefault(label, []).append((step, float(loss)))
    curves = []
    for label, found in points.items():
        steps, values = zip(*found, strict=True)
        curves.append(
            Curve(label=label, steps=steps, values=values, cost=macs.get(label))
        )
    return tuple(curves)
