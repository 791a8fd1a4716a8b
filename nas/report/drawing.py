"""How every figure looks: colours, type, and the way to SVG and PNG.

One unit of a figure is one pixel of the page at full width. Colours are drawn with the
light palette; :func:`to_svg` turns each into a CSS variable, so the page repaints the
same drawing for dark mode and for print.
"""

import collections
import contextlib
import html
import io
import itertools
import re
import warnings
from collections.abc import Callable, Generator, Sequence
from decimal import Decimal
from typing import ParamSpec

import matplotlib
import matplotlib.image
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import ScaledTranslation

from nas.report import words
from nas.report.data import Campaign, Number, ReportData

Size = tuple[int, int]
P = ParamSpec("P")

WIDE: Size = (960, 500)
HALF: Size = (520, 400)
NARROW: Size = (372, 340)
PNG_DPI = 160

SHADES = 12
"""Colours of the scale of costs, and of that of sizes."""


def _scale() -> dict[str, tuple[str, str]]:
    """Returns the scale of costs: the costlier, the further from the paper.

    It is a part of plasma, whose lightness is even and does not need hue, without the
    ends that are too near to the paper.
    """
    plasma = matplotlib.colormaps["plasma"]
    places = np.linspace([0.66, 0.42], [0.0, 0.95], SHADES)
    return {
        f"cost-{shade}": (to_hex(plasma(light)), to_hex(plasma(dark)))
        for shade, (light, dark) in enumerate(places)
    }


def _sizes() -> dict[str, tuple[str, str]]:
    """Returns the scale of relative sizes: from next to paper to the front's blue."""
    ends = (("#eef2fb", "#2148c7"), ("#1d232d", "#8facff"))
    light, dark = (
        LinearSegmentedColormap.from_list("sizes", pair)(np.linspace(0, 1, SHADES))
        for pair in ends
    )
    return {
        f"size-{shade}": (to_hex(pair[0]), to_hex(pair[1]))
        for shade, pair in enumerate(zip(light, dark, strict=True))
    }


PALETTE = {
    "paper": ("#ffffff", "#12151a"),
    "ink": ("#171a1f", "#e9ebef"),
    "muted": ("#5b6470", "#9ba5b3"),
    "rule": ("#e1e4e8", "#2c323b"),
    "wash": ("#f3f5f7", "#1b2027"),
    "front": ("#2148c7", "#8facff"),
    "baseline": ("#88929e", "#7f8a98"),
    "amber": ("#b76a00", "#f0ab3e"),
    "teal": ("#0c8376", "#3fc6b4"),
    "rose": ("#b33c7c", "#f08abb"),
    "sky": ("#2f8cc4", "#7ec6f2"),
    **_scale(),
    **_sizes(),
}
"""Colour of every role on light and on dark paper, told apart by the colour-blind."""

HUES = ("amber", "teal", "rose", "sky")

NAME_PIXELS = 16
"""Least distance of names at the ends of lines."""

LIGHT = {role: light for role, (light, _) in PALETTE.items()}

STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": LIGHT["muted"],
    "axes.grid": True,
    "axes.labelcolor": LIGHT["muted"],
    "axes.labelpad": 8,
    "axes.linewidth": 1,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 72,
    "figure.facecolor": LIGHT["paper"],
    "figure.titlesize": 14,
    "figure.titleweight": "bold",
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "grid.color": LIGHT["rule"],
    "grid.linewidth": 1,
    "legend.borderaxespad": 0,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.handletextpad": 0.3,
    "legend.labelcolor": LIGHT["muted"],
    "lines.solid_capstyle": "round",
    "savefig.transparent": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "nas",
    "text.color": LIGHT["ink"],
    "text.parse_math": False,
    "xtick.color": LIGHT["muted"],
    "xtick.major.size": 0,
    "xtick.major.pad": 6,
    "ytick.color": LIGHT["muted"],
    "ytick.major.size": 0,
    "ytick.major.pad": 6,
}


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Gives a drawing function the house style, whatever the user's matplotlibrc."""
    return matplotlib.style.context(["default", STYLE])(draw)


def new_figure(size: Size) -> Figure:
    """Returns an empty figure of ``size`` page pixels, without any global state."""
    return Figure(figsize=(size[0] / 72, size[1] / 72), layout="constrained")


def to_png(figure: Figure) -> bytes:
    """Returns the figure as PNG on white paper; equal figures give equal bytes."""
    buffer = io.BytesIO()
    with _quiet(), matplotlib.style.context(["default", STYLE]):
        figure.set_dpi(PNG_DPI)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        # In the page the text around a figure is its margin; a picture needs its own.
        edge = (PNG_DPI // 4, PNG_DPI // 4)
        pixels = np.pad(canvas.buffer_rgba(), (edge, edge, (0, 0)), constant_values=255)
        matplotlib.image.imsave(
            buffer, pixels, format="png", dpi=PNG_DPI, metadata={"Software": "nas"}
        )
    return buffer.getvalue()


def to_svg(figure: Figure, name: str, description: str) -> str:
    """Returns the figure as an SVG element to stand inside a page.

    Args:
        figure: What to draw.
        name: A prefix for every identifier, unique within the page.
        description: What the figure shows, for readers who cannot see it.
    """
    buffer = io.StringIO()
    with _quiet(), matplotlib.style.context(["default", STYLE]):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.S)
    width, height = (figure.get_size_inches() * 72).round().astype(int)
    opening = (
        f'<svg class="plot" role="img" aria-label="{html.escape(description)}" '
        f'viewBox="0 0 {width} {height}">'
    )
    text = opening + text[text.index(">", text.index("<svg")) + 1 :]
    own = set(re.findall(r'\bid="([^"]+)"', text))
    text = re.sub(
        r'(\bid="|href="#|url\(#)([^")]+)',
        lambda m: f"{m[1]}{name}-{m[2]}" if m[2] in own else m[0],
        text,
    )
    roles = {light: role for role, light in LIGHT.items()}
    text = re.sub(
        r"(?<=: )#[0-9a-f]{6}\b",
        lambda match: f"var(--{roles[match[0]]})" if match[0] in roles else match[0],
        text,
    )
    return re.sub(r"\n +", "\n", text.replace("'DejaVu Sans'", "var(--sans)")).strip()


def drawn(figure: Figure, name: str) -> str:
    """Returns the figure as :func:`to_svg` does, told to the blind by its titles."""
    titles = [part.get_label() for part in (figure, *figure.subfigs)]
    return to_svg(figure, name, "; ".join(str(title) for title in titles if title))


def set_title(
    figure: FigureBase, title: str, handles: Sequence[Line2D] = (), columns: int = 1
) -> None:
    """Puts a title at the left edge, in line with the page's text, and a key below it.

    Args:
        figure: The figure, or one part of it.
        title: What the figure shows, in words.
        handles: Lines for the key; none leaves the key out.
        columns: Entries in a row of the key.
    """
    figure.set_label(title)
    if not handles:
        figure.suptitle(title, x=0, ha="left")
        return
    # The layout engine puts a suptitle and a key at one place, so the key carries both.
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=columns,
        columnspacing=1.6,
        borderpad=0,
        labelspacing=0.4,
        alignment="left",
        title=title,
        title_fontproperties={"size": 14, "weight": "bold"},
    ).get_title().set_color(LIGHT["ink"])


def plain_ticks(axes: Axes, most: int = 6, *, unit: float = 1.0) -> None:
    """Puts up to ``most`` intervals of round numbers on either axis.

    Args:
        axes: With its final limits.
        most: How many intervals.
        unit: A power of ten that numbers of the horizontal axis are told in.
    """
    for axis, limits, one in (
        (axes.xaxis, axes.get_xlim(), unit),
        (axes.yaxis, axes.get_ylim(), 1.0),
    ):
        locator = MaxNLocator(most, steps=[1, 2, 2.5, 5, 10])
        first, second, *_ = locator.tick_values(*limits)
        step = Decimal(f"{(second - first) / one:.6g}").normalize()
        axis.set_major_locator(locator)
        axis.set_major_formatter(_numbers(one, max(-int(step.as_tuple()[2]), 0)))


def _numbers(unit: float, decimals: int) -> FuncFormatter:
    def written(value: float, _: int | None) -> str:
        return f"{value / unit:,.{decimals}f}"

    return FuncFormatter(written)


def is_random(campaign: Campaign) -> bool:
    """Tells whether a campaign is the baseline."""
    return "random" in f"{campaign.algorithm} {campaign.name}".lower()


def campaign_groups(data: ReportData) -> dict[str, str]:
    """Returns the label that stands for each campaign.

    That is its name, or the name of its algorithm where several campaigns have one, as
    those from several seeds. What an earlier search evaluated goes by algorithm too.
    """
    shared = collections.Counter(c.algorithm for c in data.campaigns)
    groups = {
        c.name: c.algorithm if shared[c.algorithm] > 1 else c.name
        for c in data.campaigns
    }
    for point in data.archive:
        groups.setdefault(point.campaign, point.algorithm or point.campaign)
    return groups


def campaign_colours(data: ReportData) -> dict[str, str]:
    """Returns the colour of each label: grey for the baseline, hues for the rest."""
    groups = campaign_groups(data)
    random = {groups[c.name] for c in data.campaigns if is_random(c)}
    hues = itertools.cycle(HUES)
    return {
        group: LIGHT["baseline" if group in random else next(hues)]
        for group in dict.fromkeys(groups.values())
    }


def label_ends(
    axes: Axes, ends: Sequence[tuple[str, float, str]], *, height: Number
) -> None:
    """Writes each line's name to the right of its end, moved apart where they touch.

    Where one had to move, thin lines join names to their ends.

    Args:
        axes: Where the lines are; its limits must be final.
        ends: ``(text, y, colour)`` of every line.
        height: Height of the axes, in page pixels.
    """
    bottom, top = axes.get_ylim()
    gap = NAME_PIXELS * (top - bottom) / height
    ordered = sorted(ends, key=lambda end: end[1])
    clipped = [min(max(y, bottom), top) for _, y, _ in ordered]
    places = apart(clipped, gap, bottom, top)
    shifts = [abs(place - end) for place, end in zip(places, clipped, strict=True)]
    joined = max(shifts, default=0) > gap / 4
    inches = axes.figure.dpi_scale_trans
    aside = ScaledTranslation((22 if joined else 8) / 72, 0, inches)
    at = axes.get_yaxis_transform()
    for (text, _, colour), end, place in zip(ordered, clipped, places, strict=True):
        join = {
            "arrowstyle": "-",
            "color": colour,
            "linewidth": 0.8,
            "relpos": (0, 0.5),
            "shrinkA": 3,
            "shrinkB": 3,
        }
        axes.annotate(
            words.shorten(text),
            (1, end),
            xytext=(1, place),
            xycoords=at,
            textcoords=at + aside,
            va="center",
            color=colour,
            annotation_clip=False,
            arrowprops=join if joined else None,
        )


def apart(
    wanted: Sequence[float], gap: float, bottom: float, top: float
) -> list[float]:
    """Moves places as little as possible so that neighbours have a gap.

    >>> apart([0.0, 0.5, 4.0], 1.0, -1.0, 9.0)
    [-0.25, 0.75, 4.0]

    Args:
        wanted: Where they should be, ascending.
        gap: Least distance between neighbours.
        bottom: Lowest place.
        top: Highest place, given up where there is no room for all.
    """
    # Without the gaps, the nearest ascending places are means of those that collide.
    groups: list[list[float]] = []
    for index, place in enumerate(wanted):
        groups.append([place - index * gap])
        while len(groups) > 1 and np.mean(groups[-2]) >= np.mean(groups[-1]):
            last = groups.pop()
            groups[-1] += last
    highest = max(top - (len(wanted) - 1) * gap, bottom)
    level = [float(np.clip(np.mean(g), bottom, highest)) for g in groups for _ in g]
    return [place + index * gap for index, place in enumerate(level)]


@contextlib.contextmanager
def _quiet() -> Generator[None, None, None]:
    """Silences complaints about glyphs that the measuring font lacks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield
