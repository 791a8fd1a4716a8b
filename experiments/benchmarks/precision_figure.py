"""The figure of the precision benchmark: loss by bits, and by size."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from nas.report import drawing
from nas.report.drawing import LIGHT

STYLES = {
    "elastic": ("One network of all bits", "front", "o", "-"),
    "alone": ("Each width alone", "ink", "D", "-"),
    "nested": ("One 8-bit code, all its bits trained (1 seed)", "teal", "s", "-"),
    "sliced": ("One 8-bit code, cut afterwards (1 seed)", "teal", "s", ":"),
    "rounded": ("Rounded after training", "amber", "^", "-"),
    "qwix": ("Rounded by Qwix", "rose", "v", "-"),
}
"""Name, colour, marker and line of what is compared, by bits."""

IMPORTANCE = {"LIM": ("amber", "^"), "ZD": ("rose", "v")}
"""Colour and marker of assignments by the importance of layers."""

LINEAR = 1.0
"""Percent up to which the axis of losses is linear; beyond, it is logarithmic."""

TICKS = (-1, -0.5, 0, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)

KB_PER_MB = 1000


@drawing.styled
def precision_figure(results: Mapping[str, Any]) -> Figure:
    """Draws what each training loses by bits, and what mixed bits gain by size.

    On the left a band goes from the lowest to the highest seed; on the right each dot
    is an assignment of bits to the layers of the elastic network of the first seed. A
    search over shape and bits has a part of its own: it had other steps.
    """
    joint = results["joint"]
    shares = (5, 5, 3) if joint else (5, 5)
    figure = drawing.new_figure((1160 * sum(shares) // 10, 560))
    parts = figure.subfigures(
        1, len(shares), squeeze=False, wspace=0.04, width_ratios=shares
    )
    _by_bits(parts[0, 0], results)
    _by_size(parts[0, 1], results)
    if joint:
        _with_shapes(parts[0, 2], results)
    return figure


def _by_bits(figure: FigureBase, results: Mapping[str, Any]) -> None:
    names = [name for name in STYLES if name in results["widths"]]
    handles = [_handle(*STYLES[name]) for name in names]
    seeds = len(results["seeds"])
    title = (
        f"Loss by bits ({results['steps']} + {results['steps']} steps, {seeds} seeds)"
    )
    drawing.set_title(figure, title, handles, columns=2)
    axes = figure.subplots()
    axes.set_yscale("symlog", linthresh=LINEAR, linscale=1.2)
    axes.axhline(0, color=LIGHT["ink"], linewidth=1.2, zorder=1)
    places = np.arange(len(results["bits"]))
    shown = []
    for name in names:
        _, hue, marker, line = STYLES[name]
        gaps = above_whole(results, name)
        shown.append(gaps)
        colour = LIGHT[hue]
        low, high = gaps.min(0), gaps.max(0)
        axes.fill_between(places, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(
            places,
            gaps.mean(0),
            color=colour,
            linestyle=line,
            marker=marker,
            markersize=7,
            markerfacecolor=colour if line == "-" else LIGHT["paper"],
            linewidth=1.8,
        )
    every = np.concatenate(shown)
    bottom = min(-0.2, every.min() - 0.1)
    axes.set_ylim(bottom, max(1.0, 1.25 * every.max()))
    axes.set_xticks(places, [str(bits) for bits in results["bits"]])
    axes.set_xlabel("Bits of all layers")
    axes.set_ylabel("Loss above that of 16 bits, %")
    axes.yaxis.set_major_locator(FixedLocator([t for t in TICKS if t >= bottom]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def above_whole(
    results: Mapping[str, Any], name: str
) -> Float[np.ndarray, "seeds bits"]:
    """Returns the percentage above the loss of the same seed in 16 bits."""
    rows = [results["widths"][name][str(bits)] for bits in results["bits"]]
    losses = np.asarray(rows)
    # Some was measured with the first seeds only.
    whole = np.asarray(results["whole"])[: losses.shape[1]]
    return 100 * (losses / whole - 1).T


def _by_size(figure: FigureBase, results: Mapping[str, Any]) -> None:
    found, alike = (results["assignments"][name] for name in ("mixed", "elastic"))
    handles = [
        _handle("Best mixed bits, trained mixed", "front", "o", "-"),
        _handle("Layers alike, trained mixed", "sky", "D", ":"),
        _handle("Best mixed bits, trained alike", "ink", "o", "-"),
        _handle("Layers alike, trained alike", "muted", "D", ":"),
        *(_handle(f"By {n}", *style, "") for n, style in IMPORTANCE.items()),
        _handle(f"All {found['count']}", "baseline", ".", ""),
    ]
    drawing.set_title(figure, "Loss by size (first seed)", handles, columns=2)
    axes = figure.subplots()
    sizes, losses = (np.asarray(found["all"][name]) for name in ("size_mb", "loss"))
    axes.scatter(
        KB_PER_MB * sizes, losses, s=9, color=LIGHT["baseline"], alpha=0.35, linewidth=0
    )
    for name, (hue, marker) in IMPORTANCE.items():
        points = _points(found["importance"][name])
        axes.plot(*points, color=LIGHT[hue], marker=marker, markersize=6, linewidth=0)
    _line(axes, alike["uniform"], "muted", "D", ":")
    _line(axes, alike["front"], "ink", "o")
    _line(axes, found["uniform"], "sky", "D", ":")
    _line(axes, found["front"], "front", "o")
    for point in found["uniform"]:
        axes.annotate(
            str(point["bits"][0]),
            (KB_PER_MB * point["size_mb"], point["loss"]),
            xytext=(7, 6),
            textcoords="offset points",
            color=LIGHT["sky"],
        )
    axes.set_xlabel("Size, kB")
    axes.set_ylabel(f"Loss, {results['unit']}")
    drawing.plain_ticks(axes)


def _with_shapes(figure: FigureBase, results: Mapping[str, Any]) -> None:
    joint = results["joint"]
    handles = [
        _handle(f"Shape and bits, {joint['steps']} steps", "teal", "s", "-"),
        _handle(f"Bits alone, {2 * results['steps']} steps", "front", "o", "-"),
    ]
    drawing.set_title(figure, "Shapes as well", handles)
    axes = figure.subplots()
    _line(axes, results["assignments"]["mixed"]["front"], "front", "o")
    _line(axes, joint["front"], "teal", "s")
    axes.set_xlabel("Size, kB")
    drawing.plain_ticks(axes)


def _line(
    axes: Axes,
    points: Sequence[Mapping[str, Any]],
    hue: str,
    marker: str,
    line: str = "-",
) -> None:
    axes.plot(
        *_points(points),
        color=LIGHT[hue],
        marker=marker,
        markersize=6,
        linewidth=1.8,
        linestyle=line,
        # Between two networks there is none: a budget buys the smaller one.
        drawstyle="steps-post",
    )


def _points(
    points: Sequence[Mapping[str, Any]],
) -> tuple[list[float], list[float]]:
    sizes = [KB_PER_MB * point["size_mb"] for point in points]
    return sizes, [point["loss"] for point in points]


def _handle(name: str, hue: str, marker: str, line: str) -> Line2D:
    handle = Line2D([], [], color=LIGHT[hue], marker=marker, markersize=7, label=name)
    handle.set(linewidth=1.8, linestyle=line or "none")
    handle.set(markerfacecolor=_face(hue, line))
    return handle


def _face(hue: str, line: str) -> str:
    """Returns what fills a marker: paper where a line of the same hue is whole."""
    return LIGHT["paper" if line == ":" and hue == "teal" else hue]
