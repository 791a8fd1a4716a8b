"""The figure of the proxies benchmark: their order, and what predictors gain."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator, StrMethodFormatter

from nas.report import drawing
from nas.report.drawing import LIGHT

SIZE = (1160, 500)

WEIGHTS = {"initial": "baseline", "trained": "front"}
"""Colour of what was computed at which weights; of what needs none, amber."""

MARKERS = {"Gaussian process": "o", "Ridge": "s", "Learnt sum": "^"}


@drawing.styled
def proxies_figure(results: Mapping[str, Any]) -> Figure:
    """Draws each proxy's tau, and that of predictors by what they learnt from.

    A line goes through means over seeds.
    """
    figure = drawing.new_figure(SIZE)
    count = results["architectures"]
    title = f"Zero-cost proxies against the evaluated {results['score']}, Kendall tau"
    key = [
        Line2D([], [], color=LIGHT[hue], linewidth=6, label=label)
        for hue, label in (
            ("baseline", "proxies at the first weights"),
            ("front", "at the trained weights"),
            ("amber", "without proxies"),
        )
    ]
    drawing.set_title(figure, title, key, columns=3)
    left, right = figure.subplots(1, 2)
    left.set_title(
        f"Alone, {count} architectures", loc="left", fontsize=12, color=LIGHT["muted"]
    )
    _bars(left, results)
    right.set_title(
        f"In predictors, mean of {results['seeds']} seeds",
        loc="left",
        fontsize=12,
        color=LIGHT["muted"],
    )
    _lines(right, results)
    return figure


def _bars(axes: Axes, results: Mapping[str, Any]) -> None:
    names = [*next(iter(results["proxies"].values())), *results["costs"]]
    for row, (weights, hue) in enumerate(WEIGHTS.items()):
        taus = results["proxies"][weights]
        places = np.arange(len(taus)) + 0.4 * row - 0.2
        heights = [tau or 0.0 for tau in taus.values()]
        axes.bar(places, heights, width=0.36, color=LIGHT[hue])
    costs = results["costs"]
    places = np.arange(len(names) - len(costs), len(names))
    heights = [tau or 0.0 for tau in costs.values()]
    axes.bar(places, heights, width=0.5, color=LIGHT["amber"])
    axes.axhline(0, color=LIGHT["muted"], linewidth=1)
    axes.set_xticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.grid(visible=False, axis="x")


def _lines(axes: Axes, results: Mapping[str, Any]) -> None:
    sizes = np.asarray(results["sizes"])
    axes.set_xscale("log", base=2)
    for name, by_size in results["predictors"].items():
        predictor, _, sees = name.partition(", ")
        hue = WEIGHTS.get(sees.removesuffix(" proxies"), "amber")
        means = [np.mean([tau or 0.0 for tau in taus]) for taus in by_size]
        axes.plot(
            sizes,
            means,
            color=LIGHT[hue],
            marker=MARKERS[predictor],
            markersize=7,
            linewidth=1.6,
        )
    handles = [
        Line2D([], [], color=LIGHT["muted"], marker=marker, linestyle="", label=name)
        for name, marker in MARKERS.items()
    ]
    # Between the predictors that see genes, above, and the sum of proxies, below.
    axes.legend(handles=handles, loc="center right", bbox_to_anchor=(0.98, 0.4))
    axes.set_xlabel("Architectures learnt from")
    axes.set_xticks(sizes)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
