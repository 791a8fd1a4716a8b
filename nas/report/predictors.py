"""The figure of the predictors: what the best of them said, against what was true."""

import numpy as np
from matplotlib.figure import Figure

from nas.report import drawing, words
from nas.report.data import ReportData
from nas.report.drawing import HALF, LIGHT, Size


@drawing.styled
def predictors_figure(data: ReportData, *, size: Size = HALF) -> Figure:
    """Draws predicted against true scores of what the best predictor had not seen.

    Raises:
        ValueError: If the report has no predictions.
    """
    test = data.predictors
    best = None if test is None else test.best
    if test is None or best is None:
        raise ValueError("the report has no predictions; set ReportData.predictors")
    name, unit = words.score(data, test.score)
    figure = drawing.new_figure(size)
    axes = figure.add_subplot()
    both = np.asarray([*test.values, *best.predicted], float)
    pad = 0.06 * (np.ptp(both) or abs(both[0]) or 1.0)
    limits = both.min() - pad, both.max() + pad
    axes.plot(limits, limits, color=LIGHT["muted"], linewidth=1)
    axes.plot(
        test.values,
        best.predicted,
        color=LIGHT["front"],
        linestyle="",
        marker="o",
        markeredgecolor=LIGHT["paper"],
        markeredgewidth=0.8,
        markersize=7,
    )
    measure = f" ({unit})" if unit else ""
    axes.set(
        xlim=limits,
        ylim=limits,
        xlabel=f"Evaluated {name.lower()}{measure}",
        ylabel=f"Predicted {name.lower()}{measure}",
    )
    drawing.plain_ticks(axes)
    drawing.set_title(figure, predictors_title(data, short=size[0] < HALF[0]))
    return figure


def predictors_title(data: ReportData, *, short: bool = False) -> str:
    """Says which predictor has the best order, and how good that is."""
    test = data.predictors
    best = None if test is None else test.best
    if best is None or best.kendall_tau is None:
        return "No predictor has an order"
    if short:
        return f"{best.name}: Kendall τ {best.kendall_tau:.2f}"
    return f"{best.name} ({best.sees}) orders best: τ {best.kendall_tau:.2f}"
