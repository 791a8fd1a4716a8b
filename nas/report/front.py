"""The figure of the front: everything evaluated, what was taken, what was ruled out."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nas.metric_names import LATENCY
from nas.report import drawing, words
from nas.report.data import Evaluated, Label, Member, Number, ReportData
from nas.report.drawing import HALF, LIGHT, WIDE, Size

View = tuple[tuple[float, float], tuple[float, float]]

ELSEWHERE = ", measured on the front and predicted elsewhere"

BEYOND = 0.35
"""Room to the right for what is not in view, as a share of what is."""

MAX_DOTS = 1000
"""Evaluated subnets drawn at most; a page with more is slow to scroll."""


@drawing.styled
def front_figure(data: ReportData, *, size: Size = WIDE) -> Figure:
    """Draws the first score against the first cost: all evaluated, front and bound.

    Args:
        data: The report.
        size: Width and height in page pixels; below half width labels are shortened.
    """
    small = size[0] < HALF[0]
    view, (cost, unit) = _view(data), words.cost(data)
    noted = "" if small or data.costs[0] != LATENCY else ELSEWHERE
    figure = drawing.new_figure(size)
    axes = figure.add_subplot()
    axes.set(
        xlim=view[0],
        ylim=view[1],
        xlabel=f"{cost.axis(unit)}{noted}",
        ylabel=f"{words.quantity(data, data.shown[0])}, lower is better",
    )
    drawing.plain_ticks(axes, 5 if small else 9, unit=unit.size)
    handles = [*_members(axes, data), *_dots(axes, data, view)]
    _numbers(axes, data, size)
    _bound(axes, data, upright=small)
    _landmark(axes, data, "smallest", view)
    _landmark(axes, data, "largest", view)
    _left_out(axes, data, view)
    title = front_title(data, short=small)
    drawing.set_title(figure, title, handles, columns=2 if small else 6)
    return figure


def front_title(data: ReportData, *, short: bool = False) -> str:
    """Says in words what :func:`front_figure` shows."""
    members, name = len(data.front), words.score(data, data.shown[0])[0]
    cost, _ = words.cost(data)
    if not members:
        return "No subnet within the bounds"
    if short:
        return f"The front: {name.lower()} against {cost.word}"
    found = "one subnet" if members == 1 else f"{members} subnets"
    archive = len(data.archive)
    seen = f" out of {archive:,} evaluated" if archive > members else ""
    return f"{name} against {cost.word}: {found} on the front{seen}"


def _points(data: ReportData) -> list[tuple[float, float]]:
    """Returns first cost and first score of the members that have both."""
    pairs = [_place(data, member) for member in data.front]
    return [(float(x), float(y)) for x, y in pairs if math.isfinite(x + y)]


def _place(data: ReportData, member: Member) -> tuple[Number, Number]:
    """Returns first cost and first score; not a number where unknown."""
    metrics = member.metrics
    return metrics.get(data.costs[0], math.nan), metrics.get(data.shown[0], math.nan)


def _view(data: ReportData) -> View:
    """Chooses limits that give the front room; far outliers stay outside."""
    front = _points(data)
    seen = [(float(e.cost), float(e.score)) for e in data.archive]
    seen = [(x, y) for x, y in seen if math.isfinite(x + y)]
    bound = [] if data.bound is None else [float(data.bound)]
    marks = [data.landmark("smallest"), data.landmark("largest")]
    far = [float(mark.cost) for mark in marks if mark]
    xs = [x for x, _ in front + seen] + bound + far or [0.0, 1.0]
    ys = [y for _, y in front + seen] or [0.0, 1.0]
    across = _across(xs, [x for x, _ in front] + bound, bound)
    bottom = min(ys + [float(mark.score) for mark in marks if mark])
    top = max([y for _, y in front] + [float(np.quantile(ys, 0.98))])
    near = [float(m.score) for m in marks if m and m.score < 2 * top - bottom]
    top = max([top, *near])
    height = top - bottom or abs(top) or 1.0
    return across, (bottom - 0.1 * height, top + 0.06 * height)


def _across(
    xs: Sequence[float], held: Sequence[float], bound: Sequence[float]
) -> tuple[float, float]:
    """Chooses the horizontal limits.

    Args:
        xs: Everything that is to be seen.
        held: What must be: the front, and the bound.
        bound: That bound, if there is one.
    """
    left, most = min(xs), 2 * max(held, default=math.inf)
    most = most if most > 0 else math.inf
    near = max(x for x in xs if x <= most)
    # What lies beyond is told in words, which need some room.
    right = min(max(xs), most, near + BEYOND * (near - left or abs(near)))
    if bound:
        right = max(right, bound[0] + 0.14 * (bound[0] - left))
    width = right - left or abs(right) or 1.0
    edge = left - 0.06 * width
    return max(edge, 0.0) if left >= 0 else edge, right + 0.04 * width


def _inside(point: Evaluated, view: View) -> bool:
    (left, right), (bottom, top) = view
    return left <= point.cost <= right and bottom <= point.score <= top


def _dots(axes: Axes, data: ReportData, view: View) -> list[Line2D]:
    """Draws the evaluated subnets by campaign and returns their legend handles."""
    groups = drawing.campaign_groups(data)
    shown = [point for point in data.archive if _inside(point, view)]
    shown = shown[:: math.ceil(len(shown) / MAX_DOTS) or 1]
    handles = []
    for group, colour in drawing.campaign_colours(data).items():
        points = [p for p in shown if groups[p.campaign] == group]
        look = {"color": colour, "marker": "o", "markeredgewidth": 0}
        if points:
            axes.plot(
                [p.cost for p in points],
                [p.score for p in points],
                **look,
                linestyle="",
                alpha=0.4,
                markersize=4.6,
            )
            handles.append(
                Line2D(
                    [],
                    [],
                    **look,
                    linestyle="",
                    markersize=5.5,
                    label=words.shorten(group),
                )
            )
    return handles


def _members(axes: Axes, data: ReportData) -> list[Line2D]:
    """Draws the staircase through the members and a mark that links to each."""
    points = sorted(_points(data))
    if not points:
        return []
    stairs: list[tuple[float, float]] = []
    for x, y in points:
        if not stairs or y < stairs[-1][1]:
            stairs.append((x, y))
    bound = data.bound
    end = max(points[-1][0], axes.get_xlim()[1] if bound is None else float(bound))
    xs, ys = zip(*stairs, (end, stairs[-1][1]), strict=True)
    axes.step(xs, ys, where="post", color=LIGHT["front"], linewidth=2, zorder=3)
    look = {
        "color": LIGHT["front"],
        "marker": "o",
        "markeredgecolor": LIGHT["paper"],
        "markeredgewidth": 1.4,
        "markersize": 9,
    }
    for member in data.front:
        x, y = _place(data, member)
        (mark,) = axes.plot([x], [y], **look, zorder=4)
        mark.set_url(f"#subnet-{member.id}")
    label = "front, measured" if data.costs[0] == LATENCY else "front"
    return [Line2D([], [], **look, linewidth=2, label=label)]


def _numbers(axes: Axes, data: ReportData, size: Size) -> None:
    """Numbers the members on the empty side of the front; crowded ones are skipped."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    wide, high = (size[0] - 90) / (right - left), (size[1] - 130) / (top - bottom)
    placed: list[tuple[float, float]] = []
    last = len(data.front)
    order = sorted(range(1, last + 1), key=lambda number: number not in (1, last))
    for number in order:
        x, y = _place(data, data.front[number - 1])
        spot = (x * wide, y * high)
        if not math.isfinite(x + y) or any(math.dist(spot, p) < 17 for p in placed):
            continue
        placed.append(spot)
        axes.annotate(
            f"{number}",
            (x, y),
            xytext=(-6, -5),
            textcoords="offset points",
            ha="right",
            va="top",
            color=LIGHT["front"],
            fontweight="bold",
        ).set_url(f"#subnet-{data.front[number - 1].id}")


def _bound(axes: Axes, data: ReportData, *, upright: bool) -> None:
    """Shades what the bound on the first cost rules out."""
    if data.bound is None:
        return
    bound, right = float(data.bound), axes.get_xlim()[1]
    axes.axvspan(bound, right, color=LIGHT["wash"], linewidth=0, zorder=0.4)
    axes.axvline(bound, color=LIGHT["ink"], linewidth=1.2, linestyle=(0, (4, 3)))
    text = f"excluded: over {_told(data, bound, 4)}"
    axes.annotate(
        text if upright else text.replace(": ", ":\n"),
        (bound, 0.98),
        xycoords=axes.get_xaxis_transform(),
        xytext=(7, 0),
        textcoords="offset points",
        rotation=90 if upright else 0,
        va="top",
        color=LIGHT["muted"],
        linespacing=1.4,
    )


def _told(data: ReportData, cost: float, digits: int = 3) -> str:
    """Writes a value of the first cost with its unit."""
    unit = words.cost(data)[1]
    return f"{words.significant(cost / unit.size, digits)} {unit.name}".rstrip()


def _landmark(axes: Axes, data: ReportData, label: Label, view: View) -> None:
    """Marks an extreme of the space, or says at the edge where it lies."""
    mark = data.landmark(label)
    if mark is None or not math.isfinite(mark.cost + mark.score):
        return
    (left, right), (bottom, top) = view
    x, y = float(mark.cost), float(mark.score)
    at = (min(max(x, left), right), min(max(y, bottom), top))
    text = label
    if at == (x, y) and at not in _points(data):
        axes.plot(
            *at,
            marker="D",
            color=LIGHT["paper"],
            markeredgecolor=LIGHT["ink"],
            markeredgewidth=1.4,
            markersize=7,
            zorder=3.5,
        )
    elif at != (x, y):
        arrow = "→" if x > right else "↑" if y > top else "←"
        text += f": {_told(data, x)}, {words.significant(y)} {arrow}"
    # The largest lies low: below it there is room, above it there are dots.
    before, below = at[0] > left + 0.75 * (right - left), label == "largest" or y > top
    axes.annotate(
        text,
        at,
        xytext=(-9 if before else 9, -4 if below else 4),
        textcoords="offset points",
        ha="right" if before else "left",
        va="top" if below else "bottom",
        zorder=5,
    )


def _left_out(axes: Axes, data: ReportData, view: View) -> None:
    hidden = sum(not _inside(point, view) for point in data.archive)
    if hidden:
        axes.annotate(
            f"{hidden:,} not in view",
            (1, 0),
            xycoords="axes fraction",
            xytext=(0, -27),
            textcoords="offset points",
            ha="right",
            va="top",
            color=LIGHT["muted"],
        )
