"""The figure of the search benchmark: what every algorithm finds, and how soon."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from nas.report import drawing
from nas.report.drawing import LIGHT

STYLES: Mapping[str, tuple[str, str]] = {
    "Random search": ("baseline", "-"),
    "Mix'n'Match": ("sky", "-."),
    "Constrained genetic": ("rose", "-"),
    "Local search": ("amber", "-"),
    "Regularized evolution": ("teal", "-"),
    "NSGA-II": ("front", "-"),
    "Surrogate-assisted": ("ink", "-"),
    "NSGA-II of pymoo": ("front", ":"),
}
"""Colour and dashes of each algorithm."""

PANELS = (
    ("hypervolume_percent", "Hypervolume, % of the true front's"),
    ("excess_percent", "Lowest loss, % above the best"),
)

WIDTH = 1240
HEIGHT = 500
AXES_HEIGHT = 370

LOWEST_SHARE = 60.0
"""Percent of the hypervolume at which its axis begins."""


@drawing.styled
def search_figure(results: Mapping[str, Any]) -> Figure:
    """Draws the mean over seeds against evaluations, with a band of the middle half.

    The names at the ends of the lines are in the order of their last values.
    """
    figure = drawing.new_figure((WIDTH, HEIGHT))
    drawing.set_title(
        figure,
        f"Search under a latency bound, {results['members_within_limit']:,} subnets "
        f"within it: mean and middle half of {results['seeds']} seeds",
    )
    panels = figure.subplots(1, len(PANELS))
    for axes, (quantity, label) in zip(panels, PANELS, strict=True):
        for name, found in results["algorithms"].items():
            _draw(axes, name, results["evaluations"], found[quantity])
        axes.set_xlabel("Subnets evaluated")
        axes.set_title(label, loc="left", fontsize=12, color=LIGHT["muted"])
        axes.set_xlim(0, results["evaluations"][-1])
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}%"))
    panels[0].set_ylim(LOWEST_SHARE, 100)
    panels[1].set_ylim(0, _top(results))
    _mark(panels[0], results["target_percent"])
    for axes, (quantity, _) in zip(panels, PANELS, strict=True):
        _name(axes, results["algorithms"], quantity)
    return figure


def _draw(
    axes: Axes,
    name: str,
    evaluations: Sequence[int],
    curve: Mapping[str, Sequence[float]],
) -> None:
    hue, dashes = STYLES[name]
    axes.fill_between(
        evaluations,
        curve["low"],
        curve["high"],
        color=LIGHT[hue],
        alpha=0.12,
        linewidth=0,
    )
    axes.plot(evaluations, curve["mean"], dashes, color=LIGHT[hue], linewidth=2.2)


def _mark(axes: Axes, target: float) -> None:
    axes.axhline(target, color=LIGHT["muted"], linestyle="--", linewidth=1)
    axes.annotate(
        "NSGA-II's end",
        (0, target),
        (4, 3),
        textcoords="offset points",
        color=LIGHT["muted"],
        fontsize=10,
    )


def _top(results: Mapping[str, Any]) -> float:
    """Returns an excess above all means but those of the first eighth."""
    eighth = len(results["evaluations"]) // 8
    starts = [
        found["excess_percent"]["mean"][eighth]
        for found in results["algorithms"].values()
    ]
    return 1.15 * max(starts)


def _name(axes: Axes, algorithms: Mapping[str, Any], quantity: str) -> None:
    ends = [
        (name, found[quantity]["mean"][-1], LIGHT[STYLES[name][0]])
        for name, found in algorithms.items()
    ]
    drawing.label_ends(axes, ends, height=AXES_HEIGHT)
