"""The figures of a report, drawn through matplotlib's object interface."""

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nas.report import drawing, words
from nas.report.data import Campaign, Curve, Number, ReportData
from nas.report.drawing import HALF, LIGHT, WIDE, Size
from nas.report.front import front_figure as front_figure
from nas.report.front import front_title as front_title

MAX_POINTS = 240
"""Points of a curve drawn at most; longer curves are averaged over windows."""

ROLES = {
    "largest": "teal",
    "middle": "rose",
    "sampled": "baseline",
    "smallest": "amber",
}


@drawing.styled
def training_figure(data: ReportData, *, size: Size = WIDE) -> Figure:
    """Draws training loss by role and validation loss by subnet over steps."""
    name = data.loss_name.lower()
    panels = [
        (f"Training {name} by role", _drawable(data.training), True),
        (f"Validation {name}", _drawable(data.validation), False),
    ]
    panels = [panel for panel in panels if panel[1]]
    figure = drawing.new_figure(size)
    across = size[0] >= HALF[0]
    rows, columns = (1, len(panels)) if across else (len(panels), 1)
    parts = figure.subfigures(rows, columns, squeeze=False, wspace=0.05, hspace=0.05)
    for part, (title, curves, noisy) in zip(parts.flat, panels, strict=True):
        drawing.set_title(part, title)
        axes = part.add_subplot()
        axes.set(xlabel="Training step", ylabel=words.quantity(data))
        _curves(axes, curves, noisy=noisy, height=size[1] / rows - 90)
    return figure


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
        (False, "fitted", "s", LIGHT["baseline"]),
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
    error = f"{words.significant(fit.mape_percent, 2)} %"
    drawing.set_title(figure, f"Predictions are off by {error} on average")
    axes.text(
        0.985,
        0.03,
        f"mean error {error}\n"
        f"within 10 %: {words.significant(fit.within_10_percent)} %\n"
        f"Kendall τ {fit.kendall_tau:.2f}",
        transform=axes.transAxes,
        ha="right",
        va="bottom",
        linespacing=1.5,
    )
    return figure


def _curves(
    axes: Axes, curves: Sequence[Curve], *, noisy: bool, height: Number
) -> None:
    """Draws curves with their names at the ends; noisy ones smoothed over the raw."""
    ends: list[tuple[str, float, str]] = []
    visible: list[np.ndarray] = []
    for curve, hue in zip(curves, itertools.cycle(drawing.HUES), strict=False):
        colour = LIGHT[ROLES.get(curve.label, hue)]
        steps, raw = _thinned(curve)
        values = _smoothed(raw, max(len(raw) // 16, 1)) if noisy else raw
        if noisy:
            axes.plot(steps, raw, color=colour, linewidth=1, alpha=0.3)
        axes.plot(steps, values, color=colour, linewidth=2)
        ends.append((curve.label, float(values[-1]), colour))
        visible.append(raw[len(raw) // 6 :])
    shown = np.concatenate(visible)
    shown = shown[np.isfinite(shown)]
    low, high = (shown.min(), shown.max()) if len(shown) else (0.0, 1.0)
    pad = 0.06 * (high - low or abs(high) or 1)
    axes.set(
        xlim=(0, max(curve.steps[-1] for curve in curves)), ylim=(low - pad, high + pad)
    )
    drawing.plain_ticks(axes)
    drawing.label_ends(axes, ends, height=height)


def _drawable(curves: Sequence[Curve]) -> list[Curve]:
    return [curve for curve in curves if np.isfinite(curve.values).any()]


def _thinned(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """Averages a long curve over equal windows of its finite points."""
    steps, values = np.array(curve.steps, float), np.array(curve.values, float)
    steps, values = steps[np.isfinite(values)], values[np.isfinite(values)]
    edges = np.unique(np.linspace(0, len(steps), MAX_POINTS + 1).astype(int))[:-1]
    widths = np.diff([*edges, len(steps)])
    return np.add.reduceat(steps, edges) / widths, np.add.reduceat(
        values, edges
    ) / widths


def _smoothed(values: np.ndarray, reach: int) -> np.ndarray:
    """Returns the moving average over ``reach`` neighbours on either side."""
    window = np.ones(2 * min(reach, (len(values) - 1) // 2) + 1)
    weights = np.convolve(np.ones_like(values), window, mode="same")
    return np.convolve(values, window, mode="same") / weights


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
