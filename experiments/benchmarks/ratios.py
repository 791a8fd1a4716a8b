"""What a comparison of two sides found, and the figure that shows it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from experiments.benchmarks.peer import Case
from nas.report import drawing
from nas.report.drawing import LIGHT

KINDS = {
    "forward": ("Forward", "teal"),
    "training": ("Forward + backward", "front"),
    "sandwich": ("Sandwich step", "rose"),
}
"""Words and colour of each kind of case."""

LABELS_WIDTH = 250
PANEL_WIDTH = 460
HEAD_HEIGHT = 150
ROW_HEIGHT = 27
TICKS = (0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 50)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Times:
    """How long both sides took, and ours over theirs.

    Attributes:
        ours_ms: Our median; of several cases, the mean of their medians.
        theirs_ms: The same of the other side.
        ratio: The first over the second; less is faster.
        quartiles: First and third quartile of the ratio within a round.
    """

    ours_ms: float
    theirs_ms: float
    ratio: float
    quartiles: tuple[float, float]

    @classmethod
    def of(
        cls,
        ours: Float[np.ndarray, "cases rounds"],
        theirs: Float[np.ndarray, "cases rounds"],
    ) -> "Times":
        """Summarises seconds."""
        first, second = (1e3 * np.median(s, axis=1).mean() for s in (ours, theirs))
        low, high = np.percentile(ours.mean(0) / theirs.mean(0), (25, 75))
        return cls(
            ours_ms=round(float(first), 3),
            theirs_ms=round(float(second), 3),
            ratio=round(float(first / second), 3),
            quartiles=(round(float(low), 3), round(float(high), 3)),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A case, and its times or for each side that cannot run it the reason."""

    case: Case
    times: Times | None = None
    unavailable: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def label(self) -> str:
        """What is compared, in words."""
        kind, _ = KINDS[self.case.kind]
        precision = "" if self.case.precision == "float32" else ", bfloat16"
        return f"{kind}, {self.case.subnet}{precision}"

    def to_json(self) -> dict[str, Any]:
        """Returns the row as JSON."""
        return {
            **dataclasses.asdict(self.case),
            **({} if self.times is None else dataclasses.asdict(self.times)),
            **({"unavailable": dict(self.unavailable)} if self.unavailable else {}),
        }


@drawing.styled
def ratios_figure(panels: Mapping[str, Sequence[Row]], *, title: str) -> Figure:
    """Draws every ratio as a dot on a logarithmic axis.

    Args:
        panels: The rows of each model, by its name; the same cases for all.
        title: What is compared.
    """
    labels = [row.label for row in next(iter(panels.values()))]
    width = LABELS_WIDTH + PANEL_WIDTH * len(panels)
    figure = drawing.new_figure((width, HEAD_HEIGHT + ROW_HEIGHT * len(labels)))
    drawing.set_title(figure, title)
    many = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)
    for axes, (name, rows) in zip(many.flat, panels.items(), strict=True):
        axes.set_title(name, loc="left", fontsize=12)
        for place, row in enumerate(rows):
            _draw_row(axes, place, row)
        axes.axvline(1, color=LIGHT["ink"], linewidth=1.2, zorder=1)
        axes.grid(visible=False, axis="y")
        axes.set(xscale="log", xlabel="Our time / PyTorch's, below 1: ours is faster")
        _write(axes, -1, "Ratio", "Ours, PyTorch", LIGHT["muted"])
    first = many.flat[0]
    first.set(ylim=(len(labels) - 0.4, -1.5))
    first.set_yticks(range(len(labels)), labels)
    _ticks(first, [row.times for rows in panels.values() for row in rows if row.times])
    return figure


def _draw_row(axes: Axes, place: int, row: Row) -> None:
    if row.times is None:
        missing = f"not available: {', '.join(row.unavailable)}"
        _write(axes, place, missing, "", LIGHT["muted"])
        return
    times, (_, hue) = row.times, KINDS[row.case.kind]
    axes.plot([1, times.ratio], [place] * 2, color=LIGHT["rule"], linewidth=5)
    axes.plot(times.quartiles, [place] * 2, color=LIGHT[hue], linewidth=1.6)
    axes.plot(
        times.ratio,
        place,
        marker="o",
        markersize=9,
        color=LIGHT[hue],
        # Hollow where both sides round.
        markerfacecolor=LIGHT[hue if row.case.precision == "float32" else "paper"],
    )
    both = f"{times.ours_ms:,.1f}, {times.theirs_ms:,.1f} ms"
    _write(axes, place, f"{times.ratio:.2f}", both, LIGHT["ink"])


def _write(axes: Axes, place: int, ratio: str, both: str, colour: str) -> None:
    """Writes two columns to the right of a panel."""
    for shift, text in ((10, ratio), (58, both)):
        axes.annotate(
            text,
            (1, place),
            xycoords=axes.get_yaxis_transform(),
            xytext=(shift, 0),
            textcoords="offset points",
            va="center_baseline",
            color=colour,
            annotation_clip=False,
        )


def _ticks(axes: Axes, times: Sequence[Times]) -> None:
    """Chooses limits that hold every quartile, and round ticks within them."""
    edges = [1.0, *(edge for t in times for edge in (*t.quartiles, t.ratio))]
    low, high = min(edges) / 1.15, max(edges) * 1.15
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator([t for t in TICKS if low < t < high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
