"""The figure of the gradient benchmark: hypervolume over time, and fronts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from nas.report import drawing
from nas.report.drawing import LIGHT

STYLES: Mapping[str, tuple[str, str]] = {
    "Gradient": ("rose", "D"),
    "Gradient, refine=0": ("amber", "v"),
    "NSGA-II": ("front", "o"),
    "Surrogate-assisted": ("ink", "s"),
    "Random search": ("baseline", "^"),
}
"""Colour and marker of each algorithm."""

WIDTH = 1240
HEIGHT = 500
AXES_HEIGHT = 370

ROOM = 0.08
"""Share of the spread of the curves that is left below and above them."""


@drawing.styled
def gradient_figure(results: Mapping[str, Any]) -> Figure:
    """Draws the mean over seeds against time, with a band of the middle half.

    Beside it, the front that each algorithm found from the first seed.
    """
    figure = drawing.new_figure((WIDTH, HEIGHT))
    drawing.set_title(
        figure,
        f"Search in equal time, by the same evaluations: mean and middle half of "
        f"{results['seeds']} seeds",
    )
    curves, fronts = figure.subplots(1, 2)
    _draw_curves(curves, results)
    _draw_fronts(fronts, results)
    return figure


def _draw_curves(axes: Axes, results: Mapping[str, Any]) -> None:
    seconds = results["seconds"]
    ends: list[tuple[str, float, str]] = []
    started: list[float] = []
    for name, found in results["algorithms"].items():
        curve, colour = found["hypervolume_percent"], LIGHT[STYLES[name][0]]
        axes.fill_between(
            seconds, curve["low"], curve["high"], color=colour, alpha=0.12, linewidth=0
        )
        axes.plot(seconds, curve["mean"], color=colour, linewidth=2.2)
        ends.append((name, curve["mean"][-1], colour))
        started += [value for value in curve["mean"] if value > 0]
    low, high = min(started, default=0.0), max(started, default=1.0)
    room = ROOM * max(high - low, 1.0)
    axes.set(xlim=(0, seconds[-1]), ylim=(low - room, high + room))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}%"))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_xlabel("Time, s")
    title = "Hypervolume, % of that of all fronts together"
    axes.set_title(title, loc="left", fontsize=12, color=LIGHT["muted"])
    drawing.label_ends(axes, ends, height=AXES_HEIGHT)


def _draw_fronts(axes: Axes, results: Mapping[str, Any]) -> None:
    first, second, *_ = [*results["objectives"], results["objectives"][0]]
    for name, found in results["algorithms"].items():
        hue, marker = STYLES[name]
        front = np.asarray(found["front"]).reshape(-1, len(results["objectives"]))
        axes.plot(
            front[:, -1 if len(front.T) == 1 else 1],
            front[:, 0],
            color=LIGHT[hue],
            marker=marker,
            markersize=6,
            markeredgecolor=LIGHT["paper"],
            linewidth=1.2,
            label=name,
        )
    axes.set_xlabel(in_words(second))
    axes.legend(loc="upper right")
    title = f"{in_words(first)}: fronts from the first seed"
    axes.set_title(title, loc="left", fontsize=12, color=LIGHT["muted"])


def in_words(metric: str) -> str:
    """Writes the name of a metric, with the unit of one that is a time.

    >>> in_words("latency_ms"), in_words("loss")
    ('Latency, ms', 'Loss')
    """
    name, _, unit = metric.partition("_")
    return f"{name.capitalize()}, {unit}" if unit == "ms" else metric.capitalize()
