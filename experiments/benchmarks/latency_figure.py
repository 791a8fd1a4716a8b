"""The figure of the latency benchmark: predicted against measured, by supernet."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nas.report import drawing
from nas.report.drawing import LIGHT

LOOKS = {
    "fit": ("fitted", "s", "baseline", 5),
    "held_out": ("held out", "o", "front", 7),
}
"""Label, marker, colour and size of each role."""


@drawing.styled
def latency_figure(results: Mapping[str, Any]) -> Figure:
    """Draws a panel for each supernet, with the band of 10 %."""
    models = results["models"]
    figure = drawing.new_figure((400 * len(models), 460))
    title = (
        f"Latency of subnets that the model was not fitted to "
        f"({results['fit']} fitted, {results['held_out']} held out)"
    )
    drawing.set_title(figure, title)
    panels = figure.subplots(1, len(models), squeeze=False)[0]
    for axes, (name, found) in zip(panels, models.items(), strict=True):
        _draw(axes, found)
        axes.set_title(name, loc="left", fontsize=12)
        axes.set_xlabel("Measured latency (ms)")
    panels[0].set_ylabel("Predicted latency (ms)")
    panels[0].legend(loc="upper left", borderaxespad=0.4)
    return figure


def _draw(axes: Axes, found: Mapping[str, Any]) -> None:
    subnets = found["subnets"]
    values = [s[key] for s in subnets for key in ("measured_ms", "predicted_ms")]
    limits = np.asarray([0.9 * min(values), 1.06 * max(values)])
    axes.fill_between(
        limits, 0.9 * limits, 1.1 * limits, color=LIGHT["wash"], label="within 10 %"
    )
    axes.plot(limits, limits, color=LIGHT["muted"], linewidth=1)
    for role, (label, marker, colour, size) in LOOKS.items():
        shown = [subnet for subnet in subnets if subnet["role"] == role]
        axes.plot(
            [subnet["measured_ms"] for subnet in shown],
            [subnet["predicted_ms"] for subnet in shown],
            color=LIGHT[colour],
            label=label,
            linestyle="",
            marker=marker,
            markersize=size,
            markeredgecolor=LIGHT["paper"],
        )
    error = found["error"]
    axes.text(
        0.97,
        0.03,
        f"mean error {error['mape_percent']:.1f} %\n"
        f"within 10 %: {error['within_10_percent']:.0f} %\n"
        f"Kendall τ {error['kendall_tau']:.2f}",
        transform=axes.transAxes,
        ha="right",
        va="bottom",
    )
    axes.set(xlim=limits, ylim=limits)
    drawing.plain_ticks(axes, 5)
