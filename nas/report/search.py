"""The figure of the search: hypervolume over evaluations, with its band over seeds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nas.report import drawing, words
from nas.report.data import Campaign, ReportData
from nas.report.drawing import HALF, LIGHT, Size

TAIL = 0.02
"""Share of the width by which the last step of a line goes on."""


class Group(NamedTuple):
    """The campaigns of one algorithm, from one seed or several.

    Attributes:
        label: What they are called together.
        random: Whether they are the baseline.
        evaluations: Where a campaign has a generation, as far as all of them go.
        volumes: The hypervolume of each campaign there.
    """

    label: str
    random: bool
    evaluations: Float[np.ndarray, " evaluations"]
    volumes: Float[np.ndarray, "campaigns evaluations"]

    def at(self, budget: float) -> Float[np.ndarray, " campaigns"]:
        """Returns hypervolumes at so many evaluations (the first ones before that)."""
        index = int(np.searchsorted(self.evaluations, budget, side="right"))
        return self.volumes[:, max(index - 1, 0)]

    def mean(self, budget: float) -> float:
        """Returns their mean."""
        return float(self.at(budget).mean())


@drawing.styled
def search_figure(data: ReportData, *, size: Size = HALF) -> Figure:
    """Draws the mean hypervolume of every algorithm, and its range over seeds."""
    figure = drawing.new_figure(size)
    axes = figure.add_subplot()
    colours, groups = drawing.campaign_colours(data), _groups(data)
    most = max((group.evaluations[-1] for group in groups), default=1.0)
    axes.set(
        xlim=(0, (1 + TAIL) * most),
        ylim=_progress_range(groups),
        xlabel="Subnets evaluated by each campaign",
        ylabel="Hypervolume, higher is better",
    )
    for group in groups:
        _draw(axes, group, colours[group.label], most)
    drawing.set_title(figure, search_title(data, short=size[0] < HALF[0]))
    drawing.plain_ticks(axes)
    ends = [
        (group.label, float(group.volumes.mean(0)[-1]), colours[group.label])
        for group in groups
    ]
    drawing.label_ends(axes, ends, height=size[1] - 90)
    if any(len(group.volumes) > 1 for group in groups):
        axes.annotate(
            "mean of seeds;\nbands from worst to best",
            (1, 0),
            xycoords="axes fraction",
            xytext=(-6, 6),
            textcoords="offset points",
            ha="right",
            color=LIGHT["muted"],
            fontsize=10.5,
            linespacing=1.4,
        )
    return figure


def search_title(data: ReportData, *, short: bool = False) -> str:
    """Says how the best search compares with random search at equal evaluations."""
    groups = _groups(data)
    random = [group for group in groups if group.random]
    others = [group for group in groups if not group.random]
    if short or not random or not others:
        return "Search progress"
    budget = min(
        max(group.evaluations[-1] for group in part) for part in (random, others)
    )
    base = max(group.mean(budget) for group in random)
    best = max(others, key=lambda group: group.mean(budget))
    if base <= 0:
        return "Search progress"
    gain = 100 * (best.mean(budget) / base - 1)
    seeds = len(best.volumes)
    over = f", mean of {seeds} seeds" if seeds > 1 else ""
    if abs(gain) < 0.05:
        return f"{best.label} is level with random search{over}"
    side = "above" if gain > 0 else "below"
    share = words.significant(abs(gain), 2)
    return f"{best.label} ends {share} % {side} random search{over}"


def _groups(data: ReportData) -> list[Group]:
    """Returns the campaigns that have a history, by algorithm."""
    labels = drawing.campaign_groups(data)
    groups: dict[str, list[Campaign]] = {}
    for campaign in data.campaigns:
        if campaign.evaluations:
            groups.setdefault(labels[campaign.name], []).append(campaign)
    return [_together(label, campaigns) for label, campaigns in groups.items()]


def _together(label: str, campaigns: Sequence[Campaign]) -> Group:
    """Returns campaigns at common numbers of evaluations.

    A campaign holds what it reached until its next generation. One that ended sooner,
    because it found nothing new, holds what it ended with.
    """
    seen = {count for campaign in campaigns for count in campaign.evaluations}
    first = max(campaign.evaluations[0] for campaign in campaigns)
    places = np.asarray(sorted(count for count in seen if count >= first), float)
    rows = []
    for campaign in campaigns:
        index = np.searchsorted(campaign.evaluations, places, side="right") - 1
        rows.append(np.asarray(campaign.hypervolume, float)[index])
    random = drawing.is_random(campaigns[0])
    return Group(label, random, places, np.stack(rows))


def _draw(axes: Axes, group: Group, colour: str, most: float) -> None:
    """Draws the mean of a group and, of several campaigns, the range around it."""
    xs = np.append(group.evaluations, group.evaluations[-1] + TAIL * most)
    volumes = np.concatenate([group.volumes, group.volumes[:, -1:]], axis=1)
    if len(volumes) > 1:
        axes.fill_between(
            xs,
            volumes.min(0),
            volumes.max(0),
            step="post",
            color=colour,
            alpha=0.16,
            linewidth=0,
        )
    axes.step(
        xs,
        volumes.mean(0),
        where="post",
        color=colour,
        linewidth=1.8 if group.random else 2.2,
        linestyle=(0, (3, 1.5)) if group.random else "-",
    )


def _progress_range(groups: Sequence[Group]) -> tuple[float, float]:
    """Leaves the steep first tenth below the axes, so that the ends stand apart."""
    ends = [float(group.volumes.max()) for group in groups]
    starts = [float(group.at(group.evaluations[-1] // 10).min()) for group in groups]
    low, high = min(starts, default=0.0), max(ends, default=1.0)
    pad = 0.05 * (high - low or abs(high) or 1)
    return low - pad, high + pad
