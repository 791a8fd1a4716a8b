"""The fidelity benchmark: what it makes of scores, on a toy and made-up ones."""

import numpy as np
import pytest

from experiments.benchmarks.fidelity import (
    PIECES,
    SHARES,
    rankings,
    readme_rows,
    searches,
)
from experiments.benchmarks.fidelity_figure import fidelity_figure
from nas.report import drawing
from search.nsga2 import Nsga2
from tests.search.toy import Toy


class Noisy:
    """Scores a toy, with an error of each piece that is its own."""

    def __init__(self, toy):
        self.toy = toy
        self.looked_at = 0.0

    def __call__(self, genotypes, part=(0.0, 1.0)):
        self.looked_at += len(genotypes) * (part[1] - part[0])
        first, stop = (round(PIECES * share) for share in part)
        noise = np.random.default_rng(0).normal(0, 0.1, PIECES)[first:stop].mean()
        yield 0, {"error": self.toy.error(genotypes) + noise}


@pytest.fixture(scope="module")
def results():
    rng = np.random.default_rng(0)
    true = np.linspace(1.0, 2.0, 40)
    scores = true[:, None] + rng.normal(0, 0.2, (40, PIECES))
    toy = Toy()
    noisy = Noisy(toy)
    found = searches(
        toy.problem,
        Nsga2(population=8),
        noisy,
        np.asarray([2.0, 41.0]),
        evaluations=20,
        seeds=2,
    )
    # Four searches from two seeds, at equal cost but for the last generation's.
    assert noisy.looked_at == pytest.approx(8 * 20, abs=8)
    ranking = rankings(scores)
    return {"run": "toy", "score": "error", "ranking": ranking, "search": found}


def test_more_examples_order_better_and_all_of_them_perfectly(results):
    taus = results["ranking"]["kendall_tau"]
    assert taus == sorted(taus)
    assert 0.4 < taus[0] < taus[-1] < 1.0
    assert all(regret >= 0 for regret in results["ranking"]["regret_percent"])
    same = rankings(np.tile(np.linspace(1.0, 2.0, 8)[:, None], PIECES))
    assert same["kendall_tau"] == pytest.approx([1.0] * len(SHARES))
    assert same["regret_percent"] == pytest.approx([0.0] * len(SHARES))


def test_every_share_is_searched_from_every_seed(results):
    volumes = results["search"]["hypervolume"]
    assert list(volumes) == ["all examples", *(f"{s:g} first" for s in SHARES)]
    assert all(len(v) == 2 and min(v) > 0 for v in volumes.values())


def test_rows_and_figure_show_what_was_found(results):
    rows = readme_rows(results)
    assert all(row.startswith("| ") and row.endswith(" |") for row in rows)
    assert "Kendall tau" in rows[1]
    assert "0.125 first" in rows[2]
    assert drawing.to_png(fidelity_figure(results)).startswith(b"\x89PNG")
