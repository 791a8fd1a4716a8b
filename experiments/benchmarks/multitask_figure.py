"""The figure of the multi-task benchmark: both errors, by preference and budget."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nas.report import drawing
from nas.report.drawing import LIGHT

HUES = ("amber", "teal", "front", "rose", "sky")
"""Colour of each budget, in turn."""

MARKERS = ("<", "^", "o")
"""Of a preference for the first task, for the second, and for none."""

TITLES = {
    "rule": "The preferred task gets the larger decoder",
    "search": "Decoders are searched as well",
}


@drawing.styled
def multitask_figure(results: Mapping[str, Any]) -> Figure:
    """Draws a line for each budget, from one preference to the other.

    A point is the mean over seeds of both errors, with a standard deviation each way;
    nearer to the origin is better. Of more than two tasks the first two are shown.
    """
    figure = drawing.new_figure((1160, 540))
    title = (
        f"What preferring a task gains it and costs the other "
        f"({results['steps']} steps, {len(results['seeds'])} seeds)"
    )
    handles = _key(results)
    drawing.set_title(figure, title, handles, columns=len(handles))
    panels = figure.subplots(1, len(TITLES), sharex=True, sharey=True)
    first, second = results["tasks"][:2]
    for axes, (method, words) in zip(panels, TITLES.items(), strict=True):
        axes.set_title(words, loc="left", fontsize=12)
        axes.set_xlabel(f"Error of {first}, %")
        for hue, entry in zip(HUES, results["budgets"], strict=False):
            _draw(axes, results, entry["methods"][method]["error_percent"], LIGHT[hue])
    panels[0].set_ylabel(f"Error of {second}, %")
    drawing.plain_ticks(panels[0])
    return figure


def _preferences(results: Mapping[str, Any]) -> tuple[str, str, str]:
    first, second = results["tasks"][:2]
    return first, second, "none"


def _draw(
    axes: Axes, results: Mapping[str, Any], errors: Mapping[str, Any], colour: str
) -> None:
    first, second, none = _preferences(results)
    path = [
        tuple(errors[preferred][task]["mean"] for task in (first, second))
        for preferred in (first, none, second)
    ]
    axes.plot(*zip(*path, strict=True), color=colour, linewidth=1.6, zorder=2)
    for marker, preferred in zip(MARKERS, (first, second, none), strict=True):
        x, y = (errors[preferred][task] for task in (first, second))
        axes.errorbar(
            x["mean"],
            y["mean"],
            xerr=x.get("deviation", 0.0),
            yerr=y.get("deviation", 0.0),
            color=colour,
            elinewidth=1,
            alpha=0.45,
            zorder=1,
        )
        axes.plot(
            x["mean"],
            y["mean"],
            marker=marker,
            markersize=9,
            markerfacecolor=LIGHT["paper"] if preferred == none else colour,
            color=colour,
            zorder=3,
        )


def _key(results: Mapping[str, Any]) -> list[Line2D]:
    budgets = [
        Line2D(
            [],
            [],
            color=LIGHT[hue],
            linewidth=2.5,
            label=f"{entry['budget']:.0%} of the MACs",
        )
        for hue, entry in zip(HUES, results["budgets"], strict=False)
    ]
    preferences = [
        Line2D(
            [],
            [],
            color=LIGHT["muted"],
            marker=marker,
            markersize=8,
            linewidth=0,
            markerfacecolor=LIGHT["paper" if name == "none" else "muted"],
            label=f"prefers {name}",
        )
        for marker, name in zip(MARKERS, _preferences(results), strict=True)
    ]
    return [*budgets, *preferences]
