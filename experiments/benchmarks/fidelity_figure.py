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
    order.plot(
        ranking["shares"],
        ranking["kendall_tau"],
        color=LIGHT["front"],
        marker="o",
        linewidth=1.6,
    )
    order.set_title("Kendall tau, 1 is the right order", loc="left", fontsize=12)
    order.set_xlabel("Share of the examples")
    order.set_xticks(ranking["shares"])
    order.set_ylim(top=1.0)
    found = search["hypervolume"]
    for row, values in enumerate(found.values()):
        hue = LIGHT["front" if row else "baseline"]
        volumes.plot(values, [row] * len(values), "o", color=hue, markersize=6)
        mean = sum(values) / len(values)
        volumes.plot([mean, mean], [row - 0.3, row + 0.3], color=hue, linewidth=2)
    volumes.set_yticks(range(len(found)), list(found))
    volumes.invert_yaxis()
    words = f"Hypervolume, the examples of {search['evaluations']} evaluations"
    volumes.set_title(words, loc="left", fontsize=12)
    return figure
