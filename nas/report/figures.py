"""The figures of a report, drawn through matplotlib's object interface."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nas.report import drawing, words
from nas.report.architectures import architectures_figure as architectures_figure
from nas.report.data import LatencyError, ReportData
from nas.report.drawing import HALF, LIGHT, Size
from nas.report.front import front_figure as front_figure
from nas.report.front import front_title as front_title
from nas.report.predictors import predictors_figure as predictors_figure
from nas.report.search import search_figure as search_figure
from nas.report.search import search_title as search_title
from nas.report.training import training_figure as training_figure


@drawing.styled
def latency_figure(data: ReportData, *, size: Size = HALF) -> Figure:
    """Draws predicted against measured latency with the band of 10 %.

    Raises:
        ValueError: If the report has no latency model.
    """
    fit = data.latency
    if fit is None:
        raise ValueError("the report has no latency model; set ReportData.latency")
    figure = drawing.new_figure(size)
    axes = figure.add_subplot()
    values = [v for s in fit.samples for v in (s.measured_ms, s.predicted_ms)]
    low, high = min(values, default=0), max(values, default=1)
    pad = 0.06 * (high - low or high or 1)
    limits = np.array([max(low - pad, 0), high + pad])
    axes.fill_between(
        limits, 0.9 * limits, 1.1 * limits, color=LIGHT["wash"], label="within 10 %"
    )
    axes.plot(limits, limits, color=LIGHT["muted"], linewidth=1, label="exact")
    for held_out, label, marker, colour in (
        (False, "fitted" if fit.error else "measured", "s", LIGHT["baseline"]),
        (True, "held out", "o", LIGHT["front"]),
    ):
        samples = [s for s in fit.samples if s.held_out == held_out]
        if samples:
            axes.plot(
                [s.measured_ms for s in samples],
                [s.predicted_ms for s in samples],
                color=colour,
                label=label,
                linestyle="",
                marker=marker,
                markeredgecolor=LIGHT["paper"],
                markeredgewidth=0.8,
                markersize=7 if held_out else 5.5,
            )
    axes.set(
        xlim=limits,
        ylim=limits,
        xlabel="Measured latency (ms)",
        ylabel="Predicted latency (ms)",
    )
    drawing.plain_ticks(axes)
    axes.legend(loc="upper left", borderaxespad=0.4)
    if fit.error is None:
        drawing.set_title(figure, words.basis(fit, drawn=True).rstrip("."))
    else:
        _tell_error(figure, axes, fit.error)
    return figure


def _tell_error(figure: Figure, axes: Axes, found: LatencyError) -> None:
    """Writes the model's error into the title and the corner below the line."""
    error = f"{words.significant(found.mape_percent, 2)} %"
    drawing.set_title(figure, f"Predictions are off by {error} on average")
    axes.text(
        0.985,
        0.03,
        f"mean error {error}\n"
        f"within 10 %: {words.significant(found.within_10_percent)} %\n"
        f"Kendall τ {found.kendall_tau:.2f}",
        transform=axes.transAxes,
        ha="right",
        va="bottom",
        linespacing=1.5,
    )
