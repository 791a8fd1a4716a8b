"""The figure of the fidelity benchmark: the order that is lost, the search's gain."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from nas.report import drawing
from nas.report.drawing import LIGHT

SIZE = (1160, 420)


@drawing.styled
def fidelity_figure(results: Mapping[str, Any]) -> Figure:
    """Draws Kendall's tau by share of the examples, and hypervolumes of searches.

    A dot is a search from one seed, a bar their mean.
    """
    figure = drawing.new_figure(SIZE)
    title = f"Evaluating subnets on fewer examples ({results['run']})"
    drawing.set_title(figure, title, [], columns=1)
    order, volumes = figure.subplots(1, 2)
    ranking, search = results["ranking"], results["search"]
    shares = [*ranking["shares"], 1.0]
    order.plot(
        shares,
        [*ranking["kendall_tau"], 1.0],
        color=LIGHT["front"],
        marker="o",
        linewidth=1.6,
    )
    words = f"Order of {ranking['subnets']} subnets, Kendall tau with all examples"
    order.set_title(words, loc="left", fontsize=12, color=LIGHT["muted"])
    order.set_xlabel("Share of the examples")
    order.set_xticks(shares, [f"{100 * share:g}%" for share in shares])
    order.set_xlim(0.0, 1.03)
    found = search["hypervolume"]
    for row, values in enumerate(found.values()):
        hue = LIGHT["front" if row else "baseline"]
        volumes.plot(values, [row] * len(values), "o", color=hue, markersize=6)
        mean = sum(values) / len(values)
        volumes.plot([mean, mean], [row - 0.3, row + 0.3], color=hue, linewidth=2)
    volumes.set_yticks(range(len(found)), [in_words(name) for name in found])
    words = f"Hypervolume of searches, all with the examples of {search['evaluations']}"
    volumes.set_title(
        f"{words} evaluations", loc="left", fontsize=12, color=LIGHT["muted"]
    )
    volumes.set_ylim(len(found) - 0.5, -0.5)
    volumes.grid(visible=False, axis="y")
    return figure


def in_words(name: str) -> str:
    """Writes how a search evaluates.

    >>> in_words("0.125 first"), in_words("all examples")
    ('12.5% first', 'all examples')
    """
    share, _, first = name.partition(" ")
    return f"{100 * float(share):g}% first" if first == "first" else name
