"""The page that shows runs beside each other: one figure of all fronts, and tables."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from nas.metric_names import LATENCY
from nas.report import words
from nas.report.costs import Unit, cost_of
from nas.report.data import Number, ReportData
from nas.report.page import replace, template

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HUES = ("front", "amber", "teal", "rose", "sky", "baseline")
MARKERS = ("o", "s", "D", "^", "v", "P")


class Point(NamedTuple):
    """A subnet of a front.

    Attributes:
        id: Identifier of the architecture.
        cost: What it is drawn against; a latency is measured.
        score: On the data of the search.
        tested: The same score on test data, where it is known.
        params: Number of parameters, where it is known.
    """

    id: str
    cost: Number
    score: Number
    tested: Number | None = None
    params: Number | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """One of the runs.

    Attributes:
        name: What it is called, unlike all others.
        points: Its front, cheapest first; at least one subnet.
        hypervolume: Of the front, below the reference of the comparison.
        facts: What there is to know of it, the same names for all runs.
    """

    name: str
    points: tuple[Point, ...]
    hypervolume: Number
    facts: Mapping[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that the page shows.

    Attributes:
        created: When, as ISO 8601 text.
        score: The score that subnets are drawn by, such as ``loss``.
        cost: The metric that they are drawn against, such as ``latency_ms``.
        loss_unit: The unit of losses; may be empty.
        reference: The reference of the hypervolume: a value of each objective.
        runs: At least two.
        differences: The values of fields of the configuration that are not the same,
            by the name of the field, one for each run.
        warnings: What the runs do not have in common.
    """

    created: str
    score: str
    loss_unit: str
    reference: Mapping[str, Number]
    runs: tuple[ComparedRun, ...]
    differences: Mapping[str, tuple[str, ...]]
    warnings: tuple[str, ...] = ()
    cost: str = "latency_ms"


def write_comparison(data: Comparison, path: Path) -> None:
    """Writes the page; equal data gives equal bytes, and it appears whole or not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, render(data).encode())


def render(data: Comparison) -> str:
    """Returns the page as HTML."""
    from nas.report import drawing

    plots = {
        width: Markup(drawing.drawn(fronts_figure(data, size=size), f"fronts-{width}"))
        for width, size in (("wide", drawing.WIDE), ("narrow", (372, 460)))
    }
    best, cost = max(run.hypervolume for run in data.runs), cost_of(data.cost)
    return template("comparison.html.jinja").render(
        data=data,
        palette=drawing.PALETTE,
        result=words.tied(result(data)),
        plots=plots,
        rows=_rows(data),
        least=cost.least.capitalize() if cost.quantity else cost.least,
        cost=cost.word,
        unit=_unit(data).name,
        score=words.quantity(_words(data), data.score),
        shares=[run.hypervolume / best if best else 1.0 for run in data.runs],
        colours=[HUES[index % len(HUES)] for index in range(len(data.runs))],
    )


def result(data: Comparison) -> str:
    """Says in a sentence which run has the largest hypervolume.

    >>> runs = tuple(
    ...     ComparedRun(name=name, points=(), hypervolume=volume, facts={})
    ...     for name, volume in (("wide", 1.1), ("deep", 1.0))
    ... )
    >>> data = Comparison(
    ...     created="", score="loss", loss_unit="", reference={}, runs=runs,
    ...     differences={},
    ... )
    >>> result(data)
    'wide has the best front: 10 % more hypervolume than deep.'
    """
    ordered = sorted(data.runs, key=lambda run: run.hypervolume, reverse=True)
    best, second = ordered[:2]
    if second.hypervolume <= 0:
        return f"{best.name} has the best front."
    gain = 100 * (best.hypervolume / second.hypervolume - 1)
    if gain < 0.05:
        return f"{best.name} and {second.name} have equally good fronts."
    return (
        f"{best.name} has the best front: {words.significant(gain, 2)} % more "
        f"hypervolume than {second.name}."
    )


def fronts_figure(data: Comparison, *, size: tuple[int, int] | None = None) -> "Figure":
    """Draws the fronts of all runs: the first score against the first cost.

    Args:
        data: The runs.
        size: Width and height in page pixels.
    """
    from nas.report import drawing

    return drawing.styled(_fronts)(data, drawing.WIDE if size is None else size)


def _fronts(data: Comparison, size: tuple[int, int]) -> "Figure":
    from matplotlib.lines import Line2D

    from nas.report import drawing

    figure = drawing.new_figure(size)
    axes = figure.add_subplot()
    small = size[0] < drawing.HALF[0]
    handles = []
    _limit(axes, data.runs)
    for index, run in enumerate(data.runs):
        look = {
            "color": drawing.LIGHT[HUES[index % len(HUES)]],
            "marker": MARKERS[index % len(MARKERS)],
            "markeredgecolor": drawing.LIGHT["paper"],
            "markeredgewidth": 1.2,
            "markersize": 8,
        }
        _stairs(axes, run, look["color"])
        axes.plot(
            [point.cost for point in run.points],
            [point.score for point in run.points],
            **look,
            linestyle="",
            zorder=4,
        )
        name = words.shorten(run.name, 28)
        handles.append(Line2D([], [], **look, linewidth=2, label=name))
    cost, unit = cost_of(data.cost), _unit(data)
    axis = cost.axis(unit)
    if data.cost == LATENCY:
        axis = f"Measured {axis.lower()}"
    axes.set(
        xlabel=f"{axis}, lower is better",
        ylabel=f"{words.quantity(_words(data), data.score)}, lower is better",
    )
    drawing.plain_ticks(axes, 5 if small else 9, unit=unit.size)
    name = words.score(_words(data), data.score)[0].lower()
    title = f"The fronts of {len(data.runs)} runs: {name} against {cost.word}"
    columns = 1 if small else min(len(handles), 4)
    drawing.set_title(figure, title, handles, columns=columns)
    return figure


def _limit(axes: "Axes", runs: Sequence[ComparedRun]) -> None:
    """Gives all points room."""
    xs = [float(point.cost) for run in runs for point in run.points]
    ys = [float(point.score) for run in runs for point in run.points]
    for values, limit in ((xs, axes.set_xlim), (ys, axes.set_ylim)):
        low, high = min(values), max(values)
        pad = 0.07 * (high - low or abs(high) or 1.0)
        limit(low - pad, high + pad)


def _stairs(axes: "Axes", run: ComparedRun, colour: str) -> None:
    """Draws what a front dominates: from its first member to the edge."""
    stairs: list[tuple[float, float]] = []
    for point in sorted(run.points, key=lambda point: (point.cost, point.score)):
        if not stairs or point.score < stairs[-1][1]:
            stairs.append((float(point.cost), float(point.score)))
    xs, ys = zip(*stairs, (axes.get_xlim()[1], stairs[-1][1]), strict=True)
    axes.step(xs, ys, where="post", color=colour, linewidth=2, zorder=3)


def _rows(data: Comparison) -> list[tuple[str, ...]]:
    """Returns the table of fronts: members, ranges and hypervolumes, by run."""
    volumes = [words.significant(run.hypervolume, 4) for run in data.runs]
    best = [min(run.points, key=lambda point: point.score) for run in data.runs]
    unit = _unit(data).size
    least = words.column([run.points[0].cost / unit for run in data.runs])
    scores = words.column([point.score for point in best])
    tested = words.column([point.tested for point in best])
    at = words.column([point.cost / unit for point in best])
    sizes = [str(len(run.points)) for run in data.runs]
    names = [run.name for run in data.runs]
    return list(zip(names, sizes, least, scores, tested, at, volumes, strict=True))


def _unit(data: Comparison) -> Unit:
    """Returns the unit that tells the costs of all fronts best."""
    points = (point for run in data.runs for point in run.points)
    return cost_of(data.cost).unit(point.cost for point in points)


def _words(data: Comparison) -> ReportData:
    """Returns a report that knows the names and units of scores, and no more."""
    return ReportData(
        title="",
        command="",
        created=data.created,
        facts={},
        space_size="",
        loss_unit=data.loss_unit,
        shown=(data.score,),
    )
