"""The figure of the predictors benchmark: order and regret, by what was learnt from."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator, StrMethodFormatter

from nas.report import drawing
from nas.report.drawing import LIGHT

STYLES = (
    ("front", "o"),
    ("amber", "s"),
    ("teal", "^"),
    ("rose", "D"),
    ("baseline", "P"),
)
"""Colour and marker of each predictor, in turn."""

WIDTH, HEAD_HEIGHT, ROW_HEIGHT = 1160, 90, 380


@drawing.styled
def predictors_figure(results: Mapping[str, Any]) -> Figure:
    """Draws Kendall's tau and the regret of the best, a row for each table.

    A marker is the mean over seeds; its line goes from the lowest to the highest.
    """
    tables = results["tables"]
    figure = drawing.new_figure((WIDTH, HEAD_HEIGHT + ROW_HEIGHT * len(tables)))
    title = f"What predictors learn from few architectures ({results['seeds']} seeds)"
    names = list(next(iter(tables.values()))["predictors"])
    drawing.set_title(figure, title, _key(names), columns=len(names))
    panels = figure.subplots(len(tables), 2, squeeze=False)
    scores = {
        "kendall_tau": "Kendall tau, 1 is the right order",
        "top_regret": f"Regret of the best {results['top']}, 0 is none",
    }
    for row, (table, found) in zip(panels, tables.items(), strict=True):
        for axes, (score, label) in zip(row, scores.items(), strict=True):
            axes.set_title(f"{label} ({table})", loc="left", fontsize=12)
            _draw(axes, found, score)
            axes.set_xlabel("Architectures learnt from")
    return figure


def _key(names: list[str]) -> list[Line2D]:
    return [
        Line2D([], [], color=LIGHT[hue], marker=marker, markersize=8, label=name)
        for name, (hue, marker) in zip(names, STYLES, strict=False)
    ]


def _draw(axes: Axes, found: Mapping[str, Any], score: str) -> None:
    sizes = np.asarray(found["sizes"])
    axes.set_xscale("log", base=2)
    shifts = np.linspace(-0.08, 0.08, len(found["predictors"]))
    for (hue, marker), shift, scores in zip(
        STYLES, shifts, found["predictors"].values(), strict=False
    ):
        values = np.asarray(scores[score])
        mean = values.mean(1)
        axes.errorbar(
            sizes * 2**shift,
            mean,
            yerr=np.stack([mean - values.min(1), values.max(1) - mean]),
            color=LIGHT[hue],
            marker=marker,
            markersize=7,
            linewidth=1.6,
            elinewidth=1,
        )
    axes.set_xticks(sizes)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
