"""The figure of the execution benchmark: each subnet against its own program."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from experiments.benchmarks.execution_cases import FIXED
from nas.report import drawing, words
from nas.report.drawing import LIGHT

PANELS = {"forward": "Forward", "training": "Forward + backward"}

STYLES = {"switched": ("front", "o"), "masked": ("amber", "s")}
"""Colour and marker of each execution."""

TARGET = 1.05
"""How many times its own program's time a subnet may take."""

WIDTH = 1160
HEAD_HEIGHT = 140
ROW_HEIGHT = 27
TICKS = (0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30)

COLUMNS = {"switched": 68, "masked": 126, FIXED: 190}
"""Where the columns beside a panel end, in points."""

Sizes = Mapping[str, Mapping[str, Any]]
"""The results of each supernet, by its name."""


@drawing.styled
def execution_figure(sizes: Sizes) -> Figure:
    """Draws every ratio on a logarithmic axis, in a panel for each kind."""
    places = _places(sizes)
    height = HEAD_HEIGHT + ROW_HEIGHT * (max(places.values()) + 1)
    figure = drawing.new_figure((WIDTH, height))
    title = "One program for all subnets against a program for each"
    drawing.set_title(figure, title, _key(), columns=4)
    room = {"wspace": 0.05}
    panels = figure.subplots(1, 2, sharex=True, sharey=True, gridspec_kw=room)
    for axes, (kind, name) in zip(panels, PANELS.items(), strict=True):
        axes.set_title(name, loc="left", fontsize=12)
        axes.axvspan(TICKS[0], TARGET, color=LIGHT["teal"], alpha=0.13, linewidth=0)
        axes.axvline(1, color=LIGHT["ink"], linewidth=1.2, zorder=2)
        axes.grid(visible=False, axis="y")
        axes.set(xscale="log", xlabel="Time / time of the subnet's own program")
        for size, results in sizes.items():
            for row in results[kind]["rows"]:
                _draw(axes, places[size, row["subnet"]], row)
        _write(axes, 0, {**{name: name for name in STYLES}, FIXED: "own, ms"})
    _limit(panels[0], sizes)
    _label(panels[0], sizes, places)
    return figure


def _places(sizes: Sizes) -> dict[tuple[str, str], int]:
    """Returns the line of each subnet, below a line for its supernet."""
    names = [
        (size, name)
        for size, results in sizes.items()
        for name in ("", *results["subnets"])
    ]
    return {name: place for place, name in enumerate(names)}


def _key() -> list[Line2D]:
    handles = [
        Line2D([], [], color=LIGHT[hue], marker=marker, linewidth=0, label=name)
        for name, (hue, marker) in STYLES.items()
    ]
    own = Line2D([], [], color=LIGHT["ink"], linewidth=1.2, label="its own program")
    target = Line2D([], [], color=LIGHT["teal"], alpha=0.25, linewidth=10)
    target.set(label=f"at most {TARGET} times that", solid_capstyle="butt")
    return [*handles, own, target]


def _draw(axes: Axes, place: int, row: Mapping[str, Any]) -> None:
    most = max(row[execution]["ratio"] for execution in STYLES)
    axes.plot([1, most], [place] * 2, color=LIGHT["rule"], linewidth=4, zorder=1)
    # The last is on top, where both are as fast.
    for execution, (hue, marker) in reversed(STYLES.items()):
        found = row[execution]
        drawn = {"color": LIGHT[hue], "zorder": 3}
        axes.plot(found["quartiles"], [place] * 2, linewidth=1.6, **drawn)
        axes.plot(found["ratio"], place, marker=marker, markersize=8, **drawn)
    ratios = {execution: f"{row[execution]['ratio']:.2f}" for execution in STYLES}
    _write(axes, place, {**ratios, FIXED: f"{row[FIXED]['ms']:,.1f}"})


def _write(axes: Axes, place: int, texts: Mapping[str, str]) -> None:
    """Writes columns to the right of a panel."""
    for column, text in texts.items():
        hue, _ = STYLES.get(column, ("muted", ""))
        axes.annotate(
            text,
            (1, place),
            xycoords=axes.get_yaxis_transform(),
            xytext=(COLUMNS[column], 0),
            textcoords="offset points",
            ha="right",
            va="center_baseline",
            color=LIGHT[hue],
            annotation_clip=False,
        )


def _label(axes: Axes, sizes: Sizes, places: Mapping[tuple[str, str], int]) -> None:
    """Names every line: supernets in bold, subnets with their parameters."""
    labels = []
    for size, name in places:
        costs = sizes[size]["subnets"].get(name)
        params = "" if costs is None else words.count(costs["params"])
        labels.append(
            f"{name}, {params}" if params else f"{size.capitalize()}: parameters"
        )
    axes.set_yticks(list(places.values()), labels)
    axes.set_ylim(len(places) - 0.4, -0.6)
    for label, (_, name) in zip(axes.get_yticklabels(), places, strict=True):
        label.set_color(LIGHT["muted" if name else "ink"])
        label.set_fontweight("normal" if name else "bold")


def _limit(axes: Axes, sizes: Sizes) -> None:
    """Chooses limits that hold every quartile, and round ticks within them."""
    edges = [1.0]
    for results in sizes.values():
        for kind in PANELS:
            edges += _edges(results[kind]["rows"])
    low, high = min(edges) / 1.12, max(edges) * 1.12
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator([t for t in TICKS if low < t < high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _edges(rows: Sequence[Mapping[str, Any]]) -> list[float]:
    return [e for row in rows for n in STYLES for e in row[n]["quartiles"]]
