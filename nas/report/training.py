"""The figure of the training: loss by role, and a panel of subnets of every size."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from nas.report import drawing, words
from nas.report.data import Curve, Number, PhaseMark, ReportData
from nas.report.drawing import HALF, LIGHT, SHADES, WIDE, Size

MAX_POINTS = 240
"""Points of a curve drawn at most; longer curves are averaged over windows."""

MAX_NAMES = 12
"""Curves with a colour and a name; the rest are grey together."""

KEY_SHARE = 0.72
"""Width of the scale of costs, as a share of the axes."""

NUMBER_PIXELS = 46
"""Width of a number below it, with the space that it needs."""

MAX_RAW = 6
"""Curves whose raw points are drawn behind their average; of more they hide it."""

EARLY = 0.9
"""Share of the steps before which a line ends too early to be named at the edge."""

GAP = 8
"""How many usual distances between points break a line: the role was not trained."""

ROLES = {
    "largest": "teal",
    "middle": "rose",
    "sampled": "baseline",
    "smallest": "amber",
}
"""Colours that stay the same from report to report."""

OTHER_HUES = ("sky", "front", "rose", "amber", "teal")

Dash = str | tuple[float, tuple[float, ...]]
DASHES: tuple[Dash, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)))


class Look(NamedTuple):
    """How a curve is drawn."""

    colour: str
    dash: Dash = "-"
    width: float = 2.0


UNNAMED = Look(LIGHT["muted"], width=0.6)


class Line(NamedTuple):
    """The points of a drawn curve."""

    steps: np.ndarray
    raw: np.ndarray
    values: np.ndarray


class Panel(NamedTuple):
    """One of the figure's two halves."""

    title: str
    curves: list[Curve]
    starts: tuple[int, ...]
    noisy: bool


@drawing.styled
def training_figure(data: ReportData, *, size: Size = WIDE) -> Figure:
    """Draws training loss by role and validation loss by subnet over steps."""
    name = data.loss_name.lower()
    sizes = any(curve.cost is not None for curve in data.validation)
    starts = tuple(phase.step for phase in data.phases)
    title = f"Validation {name}{' by size of subnet' if sizes else ''}"
    panels = [
        Panel(f"Training {name} by role", _drawable(data.training), starts, True),
        Panel(title, _drawable(data.validation), starts, False),
    ]
    panels = [panel for panel in panels if panel.curves]
    figure = drawing.new_figure(size)
    across = size[0] >= HALF[0]
    rows, columns = (1, len(panels)) if across else (len(panels), 1)
    parts = figure.subfigures(rows, columns, squeeze=False, wspace=0.05, hspace=0.05)
    for index, (part, panel) in enumerate(zip(parts.flat, panels, strict=True)):
        drawing.set_title(part, panel.title)
        axes = part.add_subplot()
        axes.set(xlabel="Training step", ylabel=words.quantity(data))
        width, height = size[0] / columns - 130, size[1] / rows - 110
        _panel(axes, panel, width, height)
        _phases(axes, data.phases, height, named=index == 0)
    return figure


def _panel(axes: Axes, panel: Panel, width: Number, height: Number) -> None:
    """Draws curves with their names at the ends; noisy ones smoothed over the raw."""
    curves = panel.curves
    priced = all(curve.cost is not None for curve in curves)
    looks = list(_by_cost(curves) if priced else _by_role(curves))
    drawn = [_draw(axes, panel, *pair) for pair in zip(curves, looks, strict=True)]
    # Of few points too, the first is of an untrained network.
    firsts = [max(len(line.raw) // 6, int(len(line.raw) > 2)) for line in drawn]
    visible = [line.raw[first:] for line, first in zip(drawn, firsts, strict=True)]
    _limit(axes, np.concatenate(visible), max(curve.steps[-1] for curve in curves))
    drawing.plain_ticks(axes)
    _names(axes, curves, looks, drawn, height)
    if priced:
        _cost_key(axes, curves, width)


def _draw(axes: Axes, panel: Panel, curve: Curve, look: Look) -> Line:
    """Draws a curve, smoothed where it is noisy, and returns its points."""
    lines: list[Line] = []
    for steps, raw in _stretches(curve):
        reach = len(raw) // 16 if panel.noisy else 0
        # Not across phases: a role may be another subnet from there on.
        cuts = np.searchsorted(steps, panel.starts, side="right")
        parts = [part for part in np.split(raw, cuts) if len(part)]
        values = np.concatenate([_smoothed(part, reach) for part in parts])
        if reach and len(panel.curves) <= MAX_RAW:
            axes.plot(steps, raw, color=look.colour, linewidth=1, alpha=0.25)
        axes.plot(
            steps,
            values,
            color=look.colour,
            linestyle=look.dash,
            linewidth=look.width,
            marker="o" if len(steps) == 1 else "",
        )
        lines.append(Line(steps, raw, values))
    return Line(*map(np.concatenate, zip(*lines, strict=True)))


def _names(
    axes: Axes,
    curves: Sequence[Curve],
    looks: Sequence[Look],
    drawn: Sequence[Line],
    height: Number,
) -> None:
    """Names curves at their ends; of those that end early, inside the axes."""
    last = max(line.steps[-1] for line in drawn)
    ends: list[tuple[str, float, str]] = []
    unnamed: list[float] = []
    for curve, look, line in zip(curves, looks, drawn, strict=True):
        end = float(line.values[-1])
        name = curve.label.removesuffix(" MACs")
        if look == UNNAMED:
            unnamed.append(end)
        elif line.steps[-1] < EARLY * last:
            _name_inside(axes, name, look.colour, line, drawn)
        else:
            ends.append((name, end, look.colour))
    if unnamed:
        ends.append((f"{len(unnamed)} more", float(np.mean(unnamed)), UNNAMED.colour))
    drawing.label_ends(axes, ends, height=height)


def _name_inside(
    axes: Axes, name: str, colour: str, line: Line, drawn: Sequence[Line]
) -> None:
    """Writes a name beside the end of a line, on the side with more room."""
    x, y = float(line.steps[-1]), float(line.values[-1])
    passing = [
        float(np.interp(x, other.steps, other.values)) - y
        for other in drawn
        if other.steps[0] <= x < other.steps[-1]
    ]
    above = min((distance for distance in passing if distance >= 0), default=np.inf)
    below = min((-distance for distance in passing if distance < 0), default=np.inf)
    axes.annotate(
        words.shorten(name),
        (x, y),
        xytext=(4, 8 if above > below else -8),
        textcoords="offset points",
        va="center",
        color=colour,
        bbox={"color": LIGHT["paper"], "alpha": 0.75, "pad": 1},
    )


def _limit(axes: Axes, visible: np.ndarray, last: Number) -> None:
    """Leaves the steep first descent above the axes, so that the ends stand apart."""
    shown = visible[np.isfinite(visible)]
    low, high = (shown.min(), shown.max()) if len(shown) else (0.0, 1.0)
    pad = 0.06 * (high - low or abs(high) or 1)
    axes.set(xlim=(0, last or 1), ylim=(low - pad, high + pad))


def _by_role(curves: Sequence[Curve]) -> Iterator[Look]:
    """Gives each role a colour; where colours repeat, dashes tell them apart."""
    taken = {ROLES[curve.label] for curve in curves if curve.label in ROLES}
    looks = (
        Look(LIGHT[hue], dash)
        for dash, hue in itertools.product(DASHES, OTHER_HUES)
        if dash != "-" or hue not in taken
    )
    for index, curve in enumerate(curves):
        if index >= MAX_NAMES:
            yield UNNAMED
        elif curve.label in ROLES:
            yield Look(LIGHT[ROLES[curve.label]])
        else:
            yield next(looks)


def _by_cost(curves: Sequence[Curve]) -> Iterator[Look]:
    """Gives each subnet its colour of the scale; those with a name stand out."""
    costs = np.log([float(curve.cost or 1) for curve in curves])
    span = np.ptp(costs) or 1.0
    shades = np.rint((costs - costs.min()) / span * (SHADES - 1)).astype(int)
    for curve, shade in zip(curves, shades, strict=True):
        yield Look(LIGHT[f"cost-{shade}"], width=2.4 if curve.label in ROLES else 1.4)


def _cost_key(axes: Axes, curves: Sequence[Curve], width: Number) -> None:
    """Draws the scale of costs above the axes, with costs of curves on it."""
    costs = sorted(float(curve.cost or 1) for curve in curves)
    low, high = costs[0], max(costs[-1], 1.001 * costs[0])
    key = axes.inset_axes((0.0, 1.09, KEY_SHARE, 0.035))
    edges = np.geomspace(low, high, SHADES + 1)
    for shade, (start, end) in enumerate(itertools.pairwise(edges)):
        key.axvspan(start, end, color=LIGHT[f"cost-{shade}"], linewidth=0)
    key.set(xscale="log", xlim=(low, high), ylim=(0, 1))
    key.grid(visible=False)
    key.spines[:].set_visible(False)
    key.yaxis.set_major_locator(NullLocator())
    ticks = _ticks(costs, NUMBER_PIXELS / (KEY_SHARE * width))
    key.set_xticks(ticks, [words.count(cost) for cost in ticks])
    key.xaxis.set_minor_locator(NullLocator())
    key.xaxis.set_minor_formatter(NullFormatter())
    labels = key.get_xticklabels()
    labels[-1].set_horizontalalignment("right")
    labels[0].set_horizontalalignment("left")
    key.annotate(
        "MACs of one input",
        (1, 0.5),
        xycoords="axes fraction",
        xytext=(10, 0),
        textcoords="offset points",
        va="center",
        color=LIGHT["muted"],
        annotation_clip=False,
    )


def _ticks(costs: Sequence[float], room: float) -> list[float]:
    """Returns the ends and what lies between them with room for a number.

    Args:
        costs: Ascending.
        room: What a number takes, as a share of the scale.
    """
    if costs[-1] <= costs[0]:
        return [costs[0]]
    places = np.log(np.asarray(costs) / costs[0]) / np.log(costs[-1] / costs[0])
    # Numbers stand on the middle of their places, and those of the ends beside them.
    shown, taken = [costs[0]], room / 2
    for cost, place in zip(costs[1:-1], places[1:-1].tolist(), strict=True):
        if place - taken > room and 1 - place > 1.5 * room:
            shown.append(cost)
            taken = place
    return [*shown, costs[-1]]


def _phases(
    axes: Axes, phases: Sequence[PhaseMark], height: Number, *, named: bool
) -> None:
    """Marks where phases begin, by numbers; named, with what they do along the line."""
    for number, phase in enumerate(phases, start=1):
        if phase.step > axes.get_xlim()[1]:
            continue
        if phase.step:
            axes.axvline(
                phase.step,
                color=LIGHT["muted"],
                linewidth=1,
                linestyle=(0, (2, 3)),
                zorder=1,
            )
        axes.annotate(
            words.shorten(f"{number}  {phase.text}", int(height / 6.5))
            if named
            else str(number),
            (phase.step, 1),
            xycoords=axes.get_xaxis_transform(),
            xytext=(3, -2),
            textcoords="offset points",
            rotation=90 if named else 0,
            ha="left",
            va="top",
            size=10,
            color=LIGHT["muted"],
            bbox={"color": LIGHT["paper"], "alpha": 0.75, "pad": 1},
        )


def _drawable(curves: Sequence[Curve]) -> list[Curve]:
    return [curve for curve in curves if np.isfinite(curve.values).any()]


def _stretches(curve: Curve) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the finite points between gaps, averaged over equal windows."""
    steps, values = np.array(curve.steps, float), np.array(curve.values, float)
    steps, values = steps[np.isfinite(values)], values[np.isfinite(values)]
    distances = np.diff(steps)
    usual = np.median(distances) if len(distances) else 1.0
    breaks = np.flatnonzero(distances > GAP * usual) + 1
    window = -(-len(steps) // MAX_POINTS)
    for part in np.split(np.arange(len(steps)), breaks):
        edges = np.arange(0, len(part), window)
        widths = np.diff([*edges, len(part)])
        yield (
            np.add.reduceat(steps[part], edges) / widths,
            np.add.reduceat(values[part], edges) / widths,
        )


def _smoothed(values: np.ndarray, reach: int) -> np.ndarray:
    """Returns the moving average over ``reach`` neighbours on either side."""
    window = np.ones(2 * min(reach, (len(values) - 1) // 2) + 1)
    weights = np.convolve(np.ones_like(values), window, mode="same")
    return np.convolve(values, window, mode="same") / weights
