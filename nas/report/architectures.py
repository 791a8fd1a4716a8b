"""The figure of the front's architectures: which layer keeps how much of what."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from nas.report import drawing, words
from nas.report.data import Axis, Member, Number, ReportData
from nas.report.drawing import HALF, LIGHT, SHADES, WIDE, Size

ROW, LEAST_ROW = 26, 9
"""Height of a member's row in page pixels, and the least that it shrinks to."""

TALLEST = 460
"""Height that all rows together do not exceed while they can shrink."""

AROUND = 112
"""Height of titles, the scale and the names of layers, in page pixels."""

TITLE = "What each subnet keeps, layer by layer"

FIGURE_SPACE = "\u2007"
"""As wide as a digit."""

GAP = 0.08
"""Paper between cells, as a share of a cell."""

LONG = 240
"""Height of rows beside which their whole name has room, in page pixels."""

READABLE = (30, 15)
"""Least width and height of a cell that its value is written into, in page pixels."""

SHARED = 1.6
"""Width of the cell of an axis that layers share, in cells of a layer."""


class Panel(NamedTuple):
    """One elastic dimension over all members.

    Attributes:
        name: What it is called.
        sizes: Of each member at each layer, as a share of the largest; not a number
            where the layer does not run.
        texts: The values.
        layered: Whether layers decide alone.
    """

    name: str
    sizes: Float[np.ndarray, "members layers"]
    texts: list[list[str]]
    layered: bool


@drawing.styled
def architectures_figure(data: ReportData, *, size: Size = WIDE) -> Figure:
    """Draws what every member of the front keeps, a row each, by relative size.

    Args:
        data: The report; its front and its axes are drawn.
        size: Width in page pixels, and height, which is that of :func:`height_of`.

    Raises:
        ValueError: If there is no front, or no axis.
    """
    panels = panels_of(data)
    if not data.front or not panels:
        raise ValueError("there is nothing to draw: the report has no front or no axes")
    figure = drawing.new_figure(size)
    rows = _rows(panels, narrow=size[0] < HALF[0])
    parts = figure.subfigures(len(rows), 1, squeeze=False, hspace=0.02)
    high = (size[1] - AROUND * len(rows)) / len(rows) / len(data.front)
    for part, row in zip(parts.flat, rows, strict=True):
        _draw(part, row, data.front, (size[0], high))
    columns = 9 if size[0] >= HALF[0] else 3
    drawing.set_title(parts[0, 0], TITLE, _key(), columns)
    return figure


def height_of(data: ReportData, *, narrow: bool = False) -> int:
    """Returns how high the figure has to be, in page pixels."""
    rows = len(_rows(panels_of(data), narrow=narrow))
    row = max(min(ROW, TALLEST / max(len(data.front), 1)), LEAST_ROW)
    return round(rows * (AROUND + row * len(data.front)))


def _rows(panels: list[Panel], *, narrow: bool) -> list[list[Panel]]:
    """Returns which panels stand side by side.

    Where there is no room for that, what all layers share is left to the table.
    """
    layered = [panel for panel in panels if panel.layered] or panels
    return [[panel] for panel in layered] if narrow or not panels else [panels]


def panels_of(data: ReportData) -> list[Panel]:
    """Returns a panel for each axis that members have, depth left out.

    How deep a member is shows in the layers that do not run.
    """
    stored = max([_stored(data), *(_last(member.arch) for member in data.front)])
    panels = []
    for axis in data.axes:
        found = [_values(member.arch, axis, stored) for member in data.front]
        unknown = all(value is None for row in found for value in row)
        if axis.name in ("depth", "layers") or unknown:
            continue
        layered = any(len(row) > 1 for row in found)
        panels.append(
            Panel(
                axis.name,
                np.asarray([[_share(axis, v) for v in row] for row in found]),
                [["" if v is None else str(v) for v in row] for row in found],
                layered,
            )
        )
    return panels


def _values(
    arch: Mapping[str, object], axis: Axis, stored: int
) -> Sequence[object | None]:
    """Returns an axis's value at each stored layer, or its one value for all."""
    value = arch.get(axis.name)
    if not isinstance(value, (list, tuple)):
        return [value] if axis.scope != "per layer" else [None] * stored
    where = dict(zip(_layers(arch, len(value)), value, strict=True))
    return [where.get(layer) for layer in range(stored)]


def _layers(arch: Mapping[str, object], count: int) -> Sequence[int]:
    layers = arch.get("layers")
    if isinstance(layers, (list, tuple)) and len(layers) == count:
        return [int(layer) for layer in layers]
    return range(count)


def _last(arch: Mapping[str, object]) -> int:
    """Returns how many layers must be stored for an architecture to run."""
    layers = arch.get("layers")
    return max(layers) + 1 if isinstance(layers, (list, tuple)) and layers else 1


def _stored(data: ReportData) -> int:
    largest = [e.arch for e in data.extremes if e.label == "largest"]
    return max(map(_last, largest), default=1)


def _share(axis: Axis, value: object) -> float:
    """Returns a value relative to the largest; of what is no number, its rank."""
    if value is None:
        return float("nan")
    numbers = [v for v in axis.values if isinstance(v, int | float)]
    if len(numbers) == len(axis.values) and isinstance(value, int | float):
        largest = max(map(abs, numbers))
        return min(abs(value) / largest, 1.0) if largest else 1.0
    known = axis.values.index(value) if value in axis.values else len(axis.values) - 1
    return (known + 1) / len(axis.values)


def _draw(
    part: SubFigure,
    panels: Sequence[Panel],
    front: Sequence[Member],
    room: tuple[Number, Number],
) -> None:
    """Draws panels side by side, with the members' names at the left."""
    widths = [
        float(panel.sizes.shape[1]) if panel.layered else SHARED for panel in panels
    ]
    cell = (room[0] - 110 - 24 * len(panels)) / sum(widths)
    grid = part.add_gridspec(1, len(panels), width_ratios=widths, wspace=0.04)
    for index, panel in enumerate(panels):
        axes = part.add_subplot(grid[0, index])
        wide = cell * (1 if panel.layered else SHARED)
        _cells(axes, panel, (wide, room[1]))
        _label(axes, panel)
        axes.set_yticks([])
        if index == 0:
            _name_rows(axes, front, room[1])


def _cells(axes: Axes, panel: Panel, room: tuple[Number, Number]) -> None:
    """Fills cells; those of a shade are one shape, which keeps pages small."""
    shades = np.full(panel.sizes.shape, -1)
    runs = np.isfinite(panel.sizes)
    shades[runs] = np.rint(panel.sizes[runs] * (SHADES - 1)).astype(int)
    for shade in np.unique(shades[runs]).tolist():
        boxes = [
            _box(float(layer), float(member))
            for member, layer in np.argwhere(shades == shade)
        ]
        axes.add_patch(
            PathPatch(
                Path.make_compound_path(*boxes),
                facecolor=LIGHT[f"size-{shade}"],
                linewidth=0,
            )
        )
    if not np.all(np.asarray(room) >= READABLE):
        return
    for member, layer in np.argwhere(runs).tolist():
        axes.text(
            layer,
            member,
            words.shorten(panel.texts[member][layer], 6),
            ha="center",
            va="center_baseline",
            fontsize=10,
            color=LIGHT["paper" if shades[member, layer] > SHADES // 2 else "ink"],
        )


def _box(layer: float, member: float) -> Path:
    half = 0.5 - GAP / 2
    corners = [(-half, -half), (half, -half), (half, half), (-half, half), (0, 0)]
    codes = [Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY]
    return Path([(layer + x, member + y) for x, y in corners], codes)


def _label(axes: Axes, panel: Panel) -> None:
    members, layers = panel.sizes.shape
    axes.set(xlim=(-0.5, layers - 0.5), ylim=(members - 0.5, -0.5))
    axes.set_title(words.shorten(panel.name), color=LIGHT["ink"], fontsize=12, pad=6)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    if not panel.layered:
        axes.set_xticks([])
        axes.set_xlabel("all layers")
        return
    every = 1 if layers <= 12 else int(np.ceil(layers / 12))
    axes.set_xticks(range(0, layers, every))
    axes.set_xlabel("Layer")


def _name_rows(axes: Axes, front: Sequence[Member], height: Number) -> None:
    """Names rows by their number in the front and their latency, where there is room.

    Args:
        axes: Of the first panel.
        front: Whose rows these are.
        height: Of a row, in page pixels.
    """
    told = words.column([member.metrics.get("latency_ms") for member in front])
    most = max(map(len, told))
    names = [
        f"{index}{FIGURE_SPACE * (3 + most - len(text))}{text} ms"
        for index, text in enumerate(told, start=1)
    ]
    every = int(np.ceil(14 / height))
    axes.set_yticks(range(0, len(front), every))
    axes.set_yticklabels(names[::every])
    long = height * len(front) > LONG
    axes.set_ylabel("Subnet of the front, fastest first" if long else "Subnet")


def _key() -> list[Line2D]:
    """Returns a scale from small to large, and what is blank."""
    look = {"marker": "s", "markersize": 11, "markeredgewidth": 0}
    shares = (0.25, 0.5, 0.75, 1.0)
    marks = [
        Line2D(
            [],
            [],
            **look,
            linestyle="",
            color=LIGHT[f"size-{round(share * (SHADES - 1))}"],
            label=f"{share:.0%}" if share < 1 else "the largest value",
        )
        for share in shares
    ]
    blank = {**look, "markeredgewidth": 1, "markeredgecolor": LIGHT["rule"]}
    absent = {"color": LIGHT["paper"], "label": "does not run"}
    return [*marks, Line2D([], [], **blank, **absent, linestyle="")]
