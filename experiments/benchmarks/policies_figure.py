"""The figure of the policies benchmark: every subnet against its twin."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from experiments.benchmarks.policies_units import BUDGETS
from nas.report import drawing, words
from nas.report.drawing import LIGHT

STYLES = (
    ("front", "o"),
    ("rose", "s"),
    ("baseline", "P"),
    ("amber", "^"),
    ("teal", "D"),
    ("sky", "v"),
)
"""Colour and marker of each policy, in turn."""

TARGET = 1.0
"""Percent above its twin that a subnet may be."""

WIDTH = 1160
HEAD_HEIGHT = 175
ROW_HEIGHT = 21
GROUP_GAP = 1.0
"""Free lines between the subnets."""

LOWEST = -100.0
"""Percent below which no loss can be."""

LINEAR = 2.0
"""Percent up to which the axis is linear; beyond, it is logarithmic."""

TICKS = (-20, -10, -5, -2, -1, 0, 1, 2, 5, 10, 20, 50, 100, 200, 500)


@drawing.styled
def policies_figure(results: Mapping[str, Any]) -> Figure:
    """Draws the gap of each subnet of the panel, by policy, in a panel a budget.

    A marker is the mean over seeds, a line goes from the lowest to the highest; it is
    hollow where the policy never trains the subnet.
    """
    policies, panel = results["policies"], results["panel"]
    places = _places(panel, policies)
    height = HEAD_HEIGHT + ROW_HEIGHT * (max(places.values()) + 1)
    figure = drawing.new_figure((WIDTH, round(height)))
    title = (
        f"Loss of subnets above that of twins trained alone ({results['steps']} steps, "
        f"{len(results['seeds'])} seeds)"
    )
    drawing.set_title(figure, title, _key(policies), columns=len(policies) + 2)
    many = figure.subplots(1, len(BUDGETS), sharex=True, sharey=True)
    for axes, (budget, name) in zip(many, BUDGETS.items(), strict=True):
        axes.set_title(name, loc="left", fontsize=12)
        axes.set_xscale("symlog", linthresh=LINEAR, linscale=0.8)
        axes.axvspan(LOWEST, TARGET, color=LIGHT["teal"], alpha=0.13, linewidth=0)
        axes.axvline(0, color=LIGHT["ink"], linewidth=1.2, zorder=2)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("Loss above the twin's, %")
        for (policy, member), place in places.items():
            _draw(axes, place, results, policy, budget, member)
    _limit(many[0], results)
    _label(many[0], places, panel)
    return figure


def _places(
    panel: Mapping[str, Any], policies: Mapping[str, Any]
) -> dict[tuple[str, str], float]:
    """Returns the line of each policy's subnet, grouped by subnet."""
    group = len(policies) + GROUP_GAP
    return {
        (policy, member): row * group + line
        for row, member in enumerate(panel)
        for line, policy in enumerate(policies)
    }


def _styles(policies: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    return dict(zip(policies, STYLES, strict=False))


def _key(policies: Mapping[str, Any]) -> list[Line2D]:
    handles = [
        Line2D(
            [],
            [],
            color=LIGHT[hue],
            marker=marker,
            linewidth=0,
            markersize=8,
            label=policies[name]["title"],
        )
        for name, (hue, marker) in _styles(policies).items()
    ]
    hollow = Line2D([], [], color=LIGHT["muted"], marker="o", linewidth=0)
    hollow.set(markerfacecolor=LIGHT["paper"], markersize=8, label="never trained")
    target = Line2D([], [], color=LIGHT["teal"], alpha=0.25, linewidth=10)
    target.set(label=f"at most {TARGET:g}% above", solid_capstyle="butt")
    return [*handles, hollow, target]


def _draw(
    axes: Axes,
    place: float,
    results: Mapping[str, Any],
    policy: str,
    budget: str,
    member: str,
) -> None:
    found = results["policies"][policy]
    gaps = found["budgets"][budget]["panel"][member]["gap_percent"]
    mean = float(np.mean(gaps))
    hue, marker = _styles(results["policies"])[policy]
    colour = LIGHT[hue]
    trained = member in found["trained"]
    axes.plot([0, mean], [place] * 2, color=LIGHT["rule"], linewidth=4, zorder=1)
    axes.plot([min(gaps), max(gaps)], [place] * 2, color=colour, linewidth=1.8)
    axes.plot(
        mean,
        place,
        marker=marker,
        markersize=7.5,
        color=colour,
        markerfacecolor=colour if trained else LIGHT["paper"],
        zorder=3,
    )
    axes.annotate(
        f"{mean:+.1f}".replace("-", "\N{MINUS SIGN}"),
        (1, place),
        xycoords=axes.get_yaxis_transform(),
        xytext=(40, 0),
        textcoords="offset points",
        ha="right",
        va="center_baseline",
        color=colour,
        annotation_clip=False,
    )


def _limit(axes: Axes, results: Mapping[str, Any]) -> None:
    """Chooses limits that hold every seed, and round ticks within them."""
    gaps = [
        gap
        for policy in results["policies"].values()
        for budget in policy["budgets"].values()
        for member in budget["panel"].values()
        for gap in member["gap_percent"]
    ]
    low = min(-1.5 * TARGET, 1.2 * min(gaps))
    high = max(1.5 * TARGET, 1.2 * max(gaps))
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator([t for t in TICKS if low < t < high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _label(
    axes: Axes, places: Mapping[tuple[str, str], float], panel: Mapping[str, Any]
) -> None:
    """Names every subnet, with its parameters, beside the middle of its group."""
    middles = {
        member: float(np.mean([y for (_, m), y in places.items() if m == member]))
        for member in panel
    }
    labels = [
        f"{member.capitalize()}\n{words.count(found['params'])} parameters"
        for member, found in panel.items()
    ]
    axes.set_yticks(list(middles.values()), labels)
    axes.set_ylim(max(places.values()) + 0.8, -0.8)
