"""Writes the page and the picture of the front."""

import dataclasses
import functools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from nas.report import words
from nas.report.costs import Unit, cost_of
from nas.report.data import Axis, LatencyFit, Number, ReportData
from supernets.quantization.precision import WEIGHT_BITS

Wanted = tuple[str, str, str, Callable[[Sequence[Number | None]], list[str]]]
"""Metric, title and unit of a column, and what writes it."""

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nas.report.drawing import Size

    Draw = Callable[..., Figure]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """A number in the table of subnets.

    Attributes:
        text: How it is written.
        note: A second, smaller number.
        sort: What the column sorts by; empty where the number is unknown.
    """

    text: str
    note: str = ""
    sort: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the table of subnets, with one cell per member."""

    name: str
    unit: str
    cells: tuple[Cell, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """One named part of an architecture.

    Attributes:
        name: The elastic dimension.
        text: Its value or values.
        bars: For a per-layer dimension, the height of each stored layer's bar from 0 to
            1, or None where the layer does not run.
    """

    name: str
    text: str
    bars: tuple[float | None, ...] = ()


def write_report(data: ReportData, directory: Path) -> None:
    """Writes ``report.html`` and ``front.png``; equal data gives equal bytes.

    Each file appears whole or not at all. The page needs nothing beside itself.

    Args:
        data: What to show.
        directory: Where to write; it is created where it is missing.
    """
    # Drawing costs most of a second to import, and only this function needs it.
    from nas.report import drawing, figures

    directory.mkdir(parents=True, exist_ok=True)
    picture = drawing.to_png(figures.front_figure(data, size=(800, 480)))
    replace(directory / "front.png", picture)
    replace(directory / "report.html", render(data).encode())


def render(data: ReportData) -> str:
    """Returns the page as HTML."""
    from nas.report import drawing

    return template("page.html.jinja").render(
        data=data,
        result=words.tied(words.result(data)),
        detail=words.tied(words.detail(data)),
        palette=drawing.PALETTE,
        plots=_plots(data),
        columns=_columns(data),
        bases=[
            words.basis(fit, drawn=bool(fit is data.latency and fit.samples))
            for fit in _fits(data)
        ],
        predicted=_predicted(data),
        predicted_unit=words.score(data, data.predictors.score)[1]
        if data.predictors
        else "",
        architectures=[_parts(member.arch, data) for member in data.front],
        extremes=[_parts(extreme.arch, data) for extreme in data.extremes],
        landmarks=_landmarks(data),
        same_files=_shared([member.files for member in data.front]),
        same_check=_shared([member.verification for member in data.front]),
        longest=max((seconds for _, seconds in data.stages), default=0),
        total=sum(seconds for _, seconds in data.stages),
    )


def template(name: str) -> Template:
    """Returns a page to fill, with the filters that write numbers for people."""
    environment = Environment(
        loader=PackageLoader("nas.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        constraint=words.constraint,
        count=words.count,
        duration=words.duration,
        moment=words.moment,
        named=words.named,
        significant=words.significant,
    )
    return environment.get_template(name)


def _fits(data: ReportData) -> tuple[LatencyFit, ...]:
    """Returns what is known of the latency of every device, this one first."""
    return data.devices if data.latency is None else (data.latency, *data.devices)


def _plots(data: ReportData) -> dict[str, dict[str, Markup]]:
    """Draws every figure that has something to show, for wide and narrow screens."""
    from nas.report.drawing import drawn

    return {
        name: {
            width: Markup(drawn(draw(data, size=size), f"{name}-{width}"))
            for width, size in zip(("wide", "narrow"), sizes, strict=True)
        }
        for name, draw, sizes in _wanted(data)
    }


def _wanted(data: ReportData) -> "list[tuple[str, Draw, tuple[Size, Size]]]":
    """Returns the figures that have something to show, with both sizes of each."""
    from nas.report import figures
    from nas.report.architectures import height_of
    from nas.report.drawing import HALF, NARROW, WIDE

    heights = (height_of(data), height_of(data, narrow=True)) if data.front else (0, 0)
    panels = bool(data.training) + bool(data.validation)
    trained = any(curve.steps for curve in (*data.training, *data.validation))
    searched = any(campaign.evaluations for campaign in data.campaigns)
    timed = data.latency is not None and bool(data.latency.samples)
    predicted = data.predictors is not None and data.predictors.best is not None
    tall, kept, training = (
        ((WIDE[0], wide), (NARROW[0], narrow))
        for wide, narrow in ((WIDE[1], 440), heights, (380, 300 * panels))
    )
    half = (HALF, NARROW)
    every = (
        (bool(data.front or data.archive), "front", figures.front_figure, tall),
        (heights[0] > 0, "architectures", figures.architectures_figure, kept),
        (trained, "training", figures.training_figure, training),
        (searched, "search", figures.search_figure, half),
        (timed, "latency", figures.latency_figure, half),
        (predicted, "predictors", figures.predictors_figure, half),
    )
    return [(name, draw, sizes) for wanted, name, draw, sizes in every if wanted]


def _columns(data: ReportData) -> list[Column]:
    """Returns the numeric columns of the table that have at least one number."""
    scores: list[Wanted] = []
    for score in data.shown:
        name, unit = words.score(data, score)
        scores.append((f"test_{score}", f"Test {name.lower()}", unit, words.column))
        tuned = f"Fine-tuned test {name.lower()}"
        scores.append((f"finetuned_test_{score}", tuned, unit, words.column))
        again = f"Retrained test {name.lower()}"
        scores.append((f"retrained_test_{score}", again, unit, words.column))
        scores.append((score, f"Search {name.lower()}", unit, words.column))
    told: tuple[Wanted, ...] = (
        ("latency_ms", "Latency", "ms", words.column),
        *((key, title, unit, words.column) for key, title, unit in data.further),
        ("params", "Parameters", "", _counts),
        ("macs", "MACs", "", _counts),
        ("memory_mb", "Memory", "MB", words.column),
    )
    columns = []
    for key, title, measure, write in (*scores, *_costs(data, told), *told):
        values = [member.metrics.get(key) for member in data.front]
        if any(value is not None for value in values):
            cells = zip(write(values), _notes(data, key, values), values, strict=True)
            column = tuple(
                Cell(text=text, note=note, sort=_sortable(value))
                for text, note, value in cells
            )
            columns.append(Column(name=title, unit=measure, cells=column))
    return columns


def _costs(data: ReportData, told: Sequence[Wanted]) -> Iterator[Wanted]:
    """Yields columns of the costs that the table would not tell otherwise."""
    wanted = list(data.costs)
    if any(axis.name == WEIGHT_BITS for axis in data.axes):
        wanted.append("mean_bits")
    for metric in dict.fromkeys(wanted):
        if metric in {key for key, *_ in told}:
            continue
        cost = cost_of(metric)
        unit = cost.unit([member.metrics.get(metric) for member in data.front])
        if cost.counted:
            yield metric, cost.title, "", _counts
        else:
            yield metric, cost.title, unit.name, functools.partial(_in, unit)


def _landmarks(data: ReportData) -> Column | None:
    """Returns a column of the first cost of the space's extremes, if none tells it."""
    metric, cost = data.costs[0], cost_of(data.costs[0])
    marks = [extreme.known for extreme in data.extremes]
    values = [mark.cost if mark else None for mark in marks]
    if metric in ("latency_ms", "params", "macs", "memory_mb") or not any(values):
        return None
    unit = cost.unit(values)
    cells = [
        Cell(text=words.MISSING if v is None else words.significant(v / unit.size))
        for v in values
    ]
    return Column(name=cost.title, unit=unit.name, cells=tuple(cells))


def _in(unit: Unit, values: Sequence[Number | None]) -> list[str]:
    return words.column([value and value / unit.size for value in values])


def _notes(
    data: ReportData, key: str, values: Sequence[Number | None]
) -> Sequence[str]:
    """Returns what stands beside the numbers of a column.

    The search saw another latency. After fine-tuning, one of two weights is exported.
    """
    if any(key in member.predicted for member in data.front):
        said = [member.predicted.get(key) for member in data.front]
        texts = words.column(said, like=values)
        pairs = zip(texts, map(words.miss, said, values), strict=True)
        return [f"({text}{miss and f', {miss}'})" for text, miss in pairs]
    tested = {"inherited": "test_", "finetuned": "finetuned_test_"}
    return [
        "exported" if key.startswith(tested.get(member.weights, " ")) else ""
        for member in data.front
    ]


def _predicted(data: ReportData) -> list[tuple[str, str, str, str]]:
    """Returns the rows of the table of predictors: name, tau, regret and error."""
    scores = () if data.predictors is None else data.predictors.scores
    return [
        (
            f"{score.name} ({score.sees})" if score.sees else score.name,
            _decimals(score.kendall_tau, 2),
            _decimals(score.top_regret, 3),
            _decimals(score.mean_error, 3),
        )
        for score in scores
    ]


def _decimals(value: Number | None, count: int) -> str:
    return words.MISSING if value is None else f"{value:.{count}f}"


def _counts(values: Sequence[Number | None]) -> list[str]:
    return [words.MISSING if v is None else words.count(v) for v in values]


def _sortable(value: Number | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.9g}"


def _parts(arch: Mapping[str, object], data: ReportData) -> list[Part]:
    """Describes an architecture by words, and by bars where layers decide alone."""
    axes = {axis.name: axis for axis in data.axes}
    layers = arch.get("layers")
    running = list(layers) if isinstance(layers, (list, tuple)) else []
    parts = []
    for name, text in words.architecture(arch):
        value = arch[name]
        bars: tuple[float | None, ...] = ()
        open_ = name in axes and len(axes[name].values) > 1
        if open_ and name != "layers" and isinstance(value, (list, tuple)):
            where = running if len(running) == len(value) else range(len(value))
            stored = max([_stored_layers(data), *(int(i) + 1 for i in where)])
            heights = dict(zip(where, _heights(axes[name], value), strict=True))
            bars = tuple(heights.get(layer) for layer in range(stored))
        parts.append(Part(name=words.named(name), text=words.tied(text), bars=bars))
    return parts


def _stored_layers(data: ReportData) -> int:
    """Returns how many layers the largest network runs, 0 where nobody knows."""
    layers = [e.arch.get("layers") for e in data.extremes if e.label == "largest"]
    return max(
        (len(ran) for ran in layers if isinstance(ran, (list, tuple))), default=0
    )


def _heights(axis: Axis, values: Sequence[object]) -> list[float]:
    """Returns the rank of each value among its axis's values, in (0, 1]."""
    ranks = {
        value: (rank + 1) / len(axis.values) for rank, value in enumerate(axis.values)
    }
    return [ranks.get(value, 1.0) for value in values]


def _shared(values: Sequence[object]) -> object:
    """Returns the one value that all share, or None."""
    return values[0] if values and all(value == values[0] for value in values) else None


def replace(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        draft.write_bytes(content)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
