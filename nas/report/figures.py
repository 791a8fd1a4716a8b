"""The figures of a report, drawn through matplotlib's object interface."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nas.report import drawing, words
from nas.report.data import Campaign, LatencyError, ReportData
from nas.report.drawing import HALF, LIGHT, Size
from nas.report.front import front_figure as front_figure
from nas.report.front import front_title as front_title
from nas.report.training import training_figure as training_figure


@drawing.styled
def search_figure(data: ReportData, *, size: Size = HALF) -> Figure:
    """Draws the hypervolume of every campaign against its evaluations."""
    figure = drawing.new_figure(size)
    axes = figure.add_subplot()
    groups, colours = drawing.campaign_groups(data), drawing.campaign_colours(data)
    campaigns = [c for c in data.campaigns if c.evaluations]
    most = max((c.evaluations[-1] for c in campaigns), default=1)
    ends: dict[str, tuple[str, float, str]] = {}
    for campaign in campaigns:
        group = groups[campaign.name]
        baseline = drawing.is_random(campaign)
        axes.step(
            (*campaign.evaluations, campaign.evaluations[-1] + 0.02 * most),
            (*campaign.hypervolume, campaign.hypervolume[-1]),
            where="post",
            color=colours[group],
            linewidth=1.8 if baseline else 2.2,
            linestyle=(0, (3, 1.5)) if baseline else "-",
        )
        ends[group] = (group, float(campaign.hypervolume[-1]), colours[group])
    axes.set(
        xlim=(0, 1.02 * most),
        ylim=_progress_range(campaigns),
        xlabel="Subnets evaluated",
        ylabel="Hypervolume, higher is better",
    )
    drawing.set_title(figure, search_title(data, short=size[0] < HALF[0]))
    drawing.plain_ticks(axes)
    drawing.label_ends(axes, list(ends.values()), height=size[1] - 90)
    return figure


def search_title(data: ReportData, *, short: bool = False) -> str:
    """Says how the best search compares with random search at equal evaluations."""
    campaigns = [c for c in data.campaigns if c.evaluations]
    random = [c for c in campaigns if drawing.is_random(c)]
    others = [c for c in campaigns if not drawing.is_random(c)]
    if short or not random or not others:
        return "Search progress"
    budget = min(max(c.evaluations[-1] for c in part) for part in (random, others))
    base = max(_reached(campaign, budget) for campaign in random)
    best = max(others, key=lambda campaign: _reached(campaign, budget))
    if base <= 0:
        return "Search progress"
    gain = 100 * (_reached(best, budget) / base - 1)
    if abs(gain) < 0.05:
        return f"{best.name} is level with random search"
    side = "above" if gain > 0 else "below"
    return f"{best.name} ends {words.significant(abs(gain), 2)} % {side} random search"


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
        drawing.set_title(figure, "Every member was measured, none predicted")
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


def _progress_range(campaigns: Sequence[Campaign]) -> tuple[float, float]:
    """Leaves the steep first tenth below the axes, so that the ends stand apart."""
    ends = [float(max(c.hypervolume)) for c in campaigns]
    starts = [_reached(c, c.evaluations[-1] // 10) for c in campaigns]
    low, high = min(starts, default=0.0), max(ends, default=1.0)
    pad = 0.05 * (high - low or abs(high) or 1)
    return low - pad, high + pad


def _reached(campaign: Campaign, budget: int) -> float:
    """Returns the hypervolume at ``budget`` evaluations (the first one before that)."""
    index = int(np.searchsorted(campaign.evaluations, budget, side="right"))
    return float(campaign.hypervolume[max(index - 1, 0)])
