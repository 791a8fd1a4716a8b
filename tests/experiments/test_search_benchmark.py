"""The search benchmark: its problem, its peer, and what it says."""

import json
import re
import sys

import numpy as np
import pytest

from experiments.benchmarks import search as benchmark
from experiments.benchmarks.search_figure import STYLES, search_figure
from experiments.benchmarks.search_peer import PymooNsga2
from experiments.benchmarks.search_problem import LIMIT, TabularProblem
from experiments.quickstart import experiment
from nas.report import drawing
from search.archive import Archive
from search.campaign import run_campaign

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table():
    return TabularProblem()


@pytest.fixture(scope="module")
def results(table):
    return benchmark.summary(table, evaluations=20, seeds=2)


def test_the_problem_is_the_space_of_the_quick_start_with_a_loss_for_every_member(
    table,
):
    assert table.space == experiment.model.space()
    ((start, metrics),) = table.evaluate(table.members)
    assert start == 0
    assert np.isfinite(metrics["loss"]).all()
    assert len(table.members) == table.space.size.value


def test_the_true_front_is_what_nothing_within_the_limit_dominates(table):
    largest = table.cheap(table.space.largest[None])["latency_ms"][0]
    assert table.objectives[:, 1].max() <= LIMIT * largest
    assert table.share(table.objectives) == 1.0
    assert table.share(table.front) == 1.0
    assert table.share(table.front[1:]) < 1.0
    assert 10 < len(table.front) < 100


def test_sums_over_genes_leave_as_much_unexplained_as_in_a_real_run(table):
    losses = table.evaluate(table.members)[0][1]["loss"]
    genes = table.space.active_genes(table.members)
    columns = [np.ones(len(losses))]
    for gene, size in enumerate(table.space.cardinalities):
        values = table.members[:, gene]
        columns += [genes[:, gene] & (values == value) for value in range(size)]
    terms = np.stack(columns, 1).astype(float)
    explained = terms @ np.linalg.lstsq(terms, losses, rcond=None)[0]
    assert (losses - explained).std() == pytest.approx(0.02, abs=0.005)


def test_the_loss_falls_with_size_on_the_whole(table):
    metrics = table.evaluate(table.members)[0][1]
    latency = table.cheap(table.members)["latency_ms"]
    assert np.corrcoef(metrics["loss"], latency)[0, 1] < -0.5


def test_pymoo_pays_for_the_evaluations_that_ours_pay_for(table):
    archive = Archive()
    result = run_campaign(
        table.problem,
        PymooNsga2(8),
        table.evaluate,
        archive,
        name="pymoo",
        seed=0,
        budget=40,
        reference=table.reference,
    )
    assert result.evaluations == len(archive) == 40
    latencies = [record.metrics["latency_ms"] for record in archive.records]
    assert max(latencies) <= table.limit
    volumes = [progress.hypervolume for progress in result.history]
    assert volumes[-1] > volumes[0]


def test_every_contender_is_measured_and_drawn(results):
    assert results["algorithms"].keys() == benchmark.CONTENDERS.keys() == STYLES.keys()
    assert results["evaluations"] == [8, 16, 20]
    for found in results["algorithms"].values():
        shares = found["hypervolume_percent"]
        assert len(shares["last"]) == 2
        assert shares["mean"] == sorted(shares["mean"])
        assert all(0 <= value <= 100 for value in shares["high"])
        excess = found["excess_percent"]["mean"]
        assert excess == sorted(excess, reverse=True)
        assert excess[-1] >= 0
        for share, needed in zip(
            shares["last"], found["evaluations_to_target"], strict=True
        ):
            assert (needed is None) == (share < results["target_percent"])
            assert needed is None or 0 < needed <= 20
    figure = search_figure(results)
    assert [len(axes.lines) for axes in figure.axes] == [len(STYLES) + 1, len(STYLES)]
    assert drawing.to_png(figure).startswith(b"\x89PNG")


def test_lines_of_the_readme_order_algorithms_by_their_hypervolume(results):
    title, shares, seeds, until = benchmark.readme_rows(results)
    assert f"`{benchmark.COMMAND}`" in title
    assert "| Hypervolume after 20 of 16,457 subnets" in shares
    numbers = [float(n) for n in re.findall(r"([\d.]+)%", shares.split("|")[2])]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == len(benchmark.CONTENDERS)
    assert seeds.startswith("| Seeds of 2 with more hypervolume than random search |")
    assert until.startswith("| Subnets until the hypervolume that NSGA-II ends with, ")


def test_seeds_ahead_are_counted_pair_by_pair():
    def ends(*last):
        return {"hypervolume_percent": {"last": list(last)}}

    made_up = {"algorithms": {"a": ends(3.0, 1.0, 2.0), "b": ends(2.0, 1.0, 5.0)}}
    assert benchmark.ahead(made_up, "a", "b") == 1
    assert benchmark.ahead(made_up, "b", "a") == 1


def test_a_curve_reaches_a_target_after_so_many_subnets_or_never():
    curve = np.asarray([1.0, 1.0, 3.0, 4.0])
    assert benchmark.reached(curve, 1.0) == 1
    assert benchmark.reached(curve, 2.5) == 3
    assert benchmark.reached(curve, 4.5) is None


def test_the_median_seed_counts_one_that_never_reaches_the_target_as_late():
    made_up = {
        "algorithms": {
            "a": {"evaluations_to_target": [30, None, 10]},
            "b": {"evaluations_to_target": [None, None, 10]},
        }
    }
    assert benchmark.until(made_up, "a") == 30
    assert benchmark.until(made_up, "b") is None


def test_the_command_writes_results_and_a_figure(monkeypatch, tmp_path, capsys):
    line = ["search", "--seeds", "1", "--evaluations", "8", "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", line)
    benchmark.main()
    written = json.loads((tmp_path / "search.json").read_text())
    assert capsys.readouterr().out.splitlines() == benchmark.readme_rows(written)
    assert (tmp_path / "search.png").read_bytes().startswith(b"\x89PNG")


def test_no_seeds_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["search", "--seeds", "0"])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert "must be at least 1, got 0" in capsys.readouterr().err
