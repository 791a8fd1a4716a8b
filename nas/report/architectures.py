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
from nas.report.data import Axis, Number, ReportData
from nas.report.drawing import HALF, LIGHT, SHADES, WIDE, Size
from supernets.quantization.precision import (
    ACTIVATION_BITS,
    ASYMMETRY,
    GRANULARITIES,
    GRANULARITY,
    WEIGHT_BITS,
)

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

WIDEST_GAP = 5
"""The most of it between layers, in page pixels."""

LETTER = 6
"""Width of a letter of what stands beside the rows, in page pixels."""

DIGIT, MARGIN, READABLE = 6.5, 4, 15
"""Width of a digit, paper beside a value, and the least height of a cell that values
are written into, in page pixels."""

RANKED = (WEIGHT_BITS, ACTIVATION_BITS, GRANULARITY, ASYMMETRY)
"""Axes whose shades are ranks: beside 16 bits, 2 and 4 would look the same, and a
tensor's scale is not nothing."""

LETTERS = {GRANULARITY: "".join(each[0] for each in GRANULARITIES)}
"""What values are written as, in the order of their numbers."""

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
        _draw(part, row, data, (size[0], high))
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

    How deep a member is shows in the layers that do not run. What leaves no choice is
    left out too, unless nothing does.
    """
    stored = max([_stored(data), *(_last(member.arch) for member in data.front)])
    panels = []
    for axis in _open(data.axes):
        found = [_values(member.arch, axis, stored) for member in data.front]
        unknown = all(value is None for row in found for value in row)
        if unknown:
            continue
        layered = any(len(row) > 1 for row in found)
        panels.append(
            Panel(
                _title(axis),
                np.asarray([[_share(axis, v) for v in row] for row in found]),
                [["" if v is None else _text(axis, v) for v in row] for row in found],
                layered,
            )
        )
    return panels


def _open(axes: Sequence[Axis]) -> Sequence[Axis]:
    """Returns the axes to draw: those with a choice, if any has one."""
    drawn = [axis for axis in axes if axis.name not in ("depth", "layers")]
    return [axis for axis in drawn if len(axis.values) > 1] or drawn


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


def _title(axis: Axis) -> str:
    return words.named(axis.name) + (", by rank" if axis.name in RANKED else "")


def _text(axis: Axis, value: object) -> str:
    if axis.name in LETTERS and isinstance(value, int):
        return LETTERS[axis.name][value]
    return str(value)


def _share(axis: Axis, value: object) -> float:
    """Returns a value relative to the largest; of bits and of no number, its rank."""
    if value is None:
        return float("nan")
    numbers = [
        v for v in axis.values if isinstance(v, int | float) and axis.name not in RANKED
    ]
    if len(numbers) == len(axis.values) and isinstance(value, int | float):
        largest = max(map(abs, numbers))
        return min(abs(value) / largest, 1.0) if largest else 1.0
    known = axis.values.index(value) if value in axis.values else len(axis.values) - 1
    return (known + 1) / len(axis.values)


def _draw(
    part: SubFigure,
    panels: Sequence[Panel],
    data: ReportData,
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
            _name_rows(axes, data, room[1])


def _cells(axes: Axes, panel: Panel, room: tuple[Number, Number]) -> None:
    """Fills cells; those of a shade are one shape, which keeps pages small."""
    shades, gap = np.full(panel.sizes.shape, -1), min(GAP, WIDEST_GAP / room[0])
    runs = np.isfinite(panel.sizes)
    shades[runs] = np.rint(panel.sizes[runs] * (SHADES - 1)).astype(int)
    for shade in np.unique(shades[runs]).tolist():
        boxes = [
            _box(float(layer), float(member), gap)
            for member, layer in np.argwhere(shades == shade)
        ]
        axes.add_patch(
            PathPatch(
                Path.make_compound_path(*boxes),
                facecolor=LIGHT[f"size-{shade}"],
                linewidth=0,
            )
        )
    texts = [[words.shorten(text, 6) for text in row] for row in panel.texts]
    longest = max(len(text) for row in texts for text in row)
    if room[0] < longest * DIGIT + MARGIN or room[1] < READABLE:
        return
    for member, layer in np.argwhere(runs).tolist():
        axes.text(
            layer,
            member,
            texts[member][layer],
            ha="center",
            va="center_baseline",
            fontsize=10,
            color=LIGHT["paper" if shades[member, layer] > SHADES // 2 else "ink"],
        )


def _box(layer: float, member: float, gap: float) -> Path:
    x, y = 0.5 - gap / 2, 0.5 - GAP / 2
    corners = [(-x, -y), (x, -y), (x, y), (-x, y), (0, 0)]
    codes = [Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY]
    return Path([(layer + dx, member + dy) for dx, dy in corners], codes)


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


def _name_rows(axes: Axes, data: ReportData, height: Number) -> None:
    """Names rows by their number in the front and their cost, where there is room.

    Args:
        axes: Of the first panel.
        data: Whose front these are.
        height: Of a row, in page pixels.
    """
    (cost, unit), front = words.cost(data), data.front
    costs = [member.metrics.get(data.costs[0]) for member in front]
    told = words.column([value and value / unit.size for value in costs])
    most = max(map(len, told))
    names = [
        f"{index}{FIGURE_SPACE * (3 + most - len(text))}{text} {unit.name}".rstrip()
        for index, text in enumerate(told, start=1)
    ]
    every = int(np.ceil(14 / height))
    axes.set_yticks(range(0, len(front), every))
    axes.set_yticklabels(names[::every])
    title = f"Subnet of the front, {cost.least} first"
    fits = height * len(front) > LETTER * len(title)
    axes.set_ylabel(title if fits else "Subnet")


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
