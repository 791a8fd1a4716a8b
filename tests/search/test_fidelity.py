"""Rungs: what climbs, what it costs, and that a search replays with them."""

import dataclasses

import numpy as np
import pytest

from search.archive import Archive, Record
from search.campaign import run_campaign
from search.fidelity import Rungs, SuccessiveHalving, columns, estimates, promoted
from search.nsga2 import Nsga2
from search.random_search import RandomSearch
from tests.search.toy import Toy

HALVING = SuccessiveHalving(fractions=(0.25, 1.0), keep=0.5)
THREE = SuccessiveHalving(fractions=(0.25, 0.5, 1.0), keep=0.5)


class Killed(Exception):
    pass


class Parts:
    """Evaluates a toy on parts: each quarter of the examples has an error of its own.

    Args:
        toy: What is evaluated.
        last: Parts of batches that are answered before it is killed.
    """

    def __init__(self, toy, last=None):
        self.toy, self.last = toy, last
        self.calls = []
        self.finished = 0

    def errors(self, genotypes):
        """Returns the error of each genotype on each quarter."""
        seeds = (genotypes * (1 + np.arange(genotypes.shape[1]))).sum(1)
        noise = np.stack([np.random.default_rng(s).normal(0, 0.02, 4) for s in seeds])
        return self.toy.error(genotypes)[:, None] + noise

    def __call__(self, genotypes, part):
        first, stop = (int(4 * share) for share in part)
        for start in range(0, len(genotypes), 3):
            if self.finished == self.last:
                raise Killed
            rows = genotypes[start : start + 3]
            self.calls += [(tuple(row), part) for row in rows.tolist()]
            yield start, {"error": self.errors(rows)[:, first:stop].mean(1)}
            self.finished += 1


def run(toy, archive, *, parts=None, halving=HALVING, **changes):
    settings = {"name": "test", "seed": 0, "budget": 20} | changes
    algorithm = settings.pop("algorithm", Nsga2(population=8))
    rungs = Rungs(halving, parts or Parts(toy))
    return run_campaign(toy.problem, algorithm, rungs, archive, **settings)


def content(archive):
    records = (*archive.records, *archive.partial)
    return [dataclasses.replace(record, seconds=0.0) for record in records]


@pytest.mark.parametrize("halving", [HALVING, THREE])
def test_the_last_rung_has_the_mean_over_all_examples(halving):
    toy, archive = Toy(), Archive()
    parts = Parts(toy)
    run(toy, archive, parts=parts, halving=halving)
    for fraction in halving.fractions:
        records = [r for r in content(archive) if r.fraction == fraction]
        rows = np.asarray([record.genotype for record in records], np.int32)
        true = parts.errors(rows)[:, : int(4 * fraction)].mean(1)
        assert np.allclose(columns(records)["error"], true)
    # Nothing is looked at twice.
    assert len(set(parts.calls)) == len(parts.calls)


def test_the_budget_counts_shares_of_the_examples():
    toy, archive = Toy(), Archive()
    parts = Parts(toy)
    result = run(toy, archive, parts=parts)
    shares = [stop - start for _, (start, stop) in parts.calls]
    assert result.evaluations == int(sum(shares)) == 20
    # All of them would be fewer on all examples.
    assert len(archive) + len(archive.partial) > 20
    low = {record.genotype for record in archive.partial}
    assert {record.genotype for record in archive.records} < low
    assert len(low) > 20 > len(archive)


def test_only_what_reached_the_last_rung_is_on_the_front():
    toy, archive = Toy(), Archive()
    result = run(toy, archive)
    assert result.front
    assert {record.fraction for record in result.front} == {1.0}
    reached = {record.genotype for record in archive.records}
    assert {record.genotype for record in result.front} <= reached


@pytest.mark.parametrize("halving", [HALVING, THREE])
def test_a_campaign_interrupted_anywhere_replays_to_the_same_result(tmp_path, halving):
    small = {"algorithm": Nsga2(population=6), "budget": 8, "halving": halving}
    toy, straight = Toy(), Archive()
    parts = Parts(toy)
    expected = run(toy, straight, parts=parts, **small)
    for last in range(parts.finished):
        path = tmp_path / f"{last}.jsonl"
        with pytest.raises(Killed):
            run(Toy(), Archive(path), parts=Parts(Toy(), last), **small)
        before = len(content(Archive(path)))
        again = Parts(Toy())
        result = run(Toy(), archive := Archive(path), parts=again, **small)
        assert content(archive) == content(straight)
        assert len(again.calls) == len(parts.calls) - before
        assert result.history == expected.history
        fronts = [[r.genotype for r in one.front] for one in (result, expected)]
        assert fronts[0] == fronts[1]


def test_what_another_campaign_evaluated_changes_nothing_but_the_effort():
    alone = run(Toy(), Archive(), name="evolution")
    toy, archive = Toy(), Archive()
    parts = Parts(toy)
    run(toy, archive, parts=parts, name="random", algorithm=RandomSearch(batch=8))
    result = run(toy, archive, parts=parts, name="evolution")
    assert result.history == alone.history
    assert len(set(parts.calls)) == len(parts.calls)
    # A search on all examples finds there what was evaluated on all.
    whole = run_campaign(
        toy.problem,
        RandomSearch(batch=8),
        lambda g: ((s, m) for s, m in parts(g, (0.0, 1.0))),
        archive,
        name="whole",
        seed=0,
        budget=20,
    )
    assert whole.evaluations == 20
    assert all(record.fraction == 1 for record in whole.front)


def record(genotype, error, latency, fraction=0.25):
    metrics = {"latency_ms": latency, "error": error}
    return Record((genotype,), {}, metrics, "test", genotype, 0.0, fraction)


def test_the_best_fronts_climb_and_infeasible_ones_last():
    records = [
        record(0, 0.5, 1.0),
        record(1, 0.1, 99.0),  # Too slow for the toy's bound of 40.
        record(2, 0.2, 9.0),
        record(3, 0.6, 2.0),
        record(4, 0.3, 10.0),
    ]
    problem = Toy().problem
    assert promoted(problem, records, 0.4).tolist() == [0, 2]
    # One of the second front has room, and the first objective decides.
    assert promoted(problem, records, 0.6).tolist() == [0, 2, 4]
    assert promoted(problem, records, 0.8).tolist() == [0, 2, 3, 4]
    assert promoted(problem, records[1:2], 0.1).tolist() == [0]


def test_what_did_not_climb_is_told_as_if_it_had_gained_as_much():
    first = [record(n, 0.1 * n, 5.0 + n) for n in range(4)]
    second = [record(n, 0.1 * n + 0.05, 5.0 + n, 0.5) for n in (0, 2)]
    last = [record(2, 0.2 + 0.05 + 0.3, 7.0, 1.0)]
    found = estimates([first, second, last], {"latency_ms"})
    assert np.allclose(found["error"], [0.35, 0.45, 0.55, 0.65])
    assert found["latency_ms"].tolist() == [5.0, 6.0, 7.0, 8.0]
    assert first[0].metrics["error"] == 0.0


def test_an_archive_of_before_there_were_fractions_is_read(tmp_path):
    toy, path = Toy(), tmp_path / "archive.jsonl"
    run(toy, Archive(path))
    lines = path.read_text().splitlines()
    old = [line.replace(', "fraction": 1.0', "") for line in lines]
    assert old != lines
    path.write_text("\n".join(old) + "\n")
    archive = Archive(path)
    assert len(archive) + len(archive.partial) == len(lines)
    assert run(toy, archive, parts=Parts(toy, last=0)).evaluations == 20


def test_pieces_and_costs_are_what_they_come_to():
    assert (HALVING.pieces, HALVING.cost) == (4, 0.25 + 0.5 * 0.75)
    assert THREE.cost == 0.25 + 0.5 * 0.25 + 0.25 * 0.5
    thirds = SuccessiveHalving(fractions=(1 / 3, 0.5, 1.0))
    assert thirds.pieces == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fractions": (1.0,)}, "give at least two that ascend to 1"),
        ({"fractions": (0.5, 0.25, 1.0)}, "ascend to 1"),
        ({"fractions": (0.25, 0.5)}, "ascend to 1"),
        ({"fractions": (0.0, 1.0)}, "must be above 0"),
        ({"fractions": (0.123, 1.0)}, "in at most 64"),
        ({"keep": 1.0}, "keep must lie between 0 and 1, got 1.0"),
        ({"keep": 0.0}, "keep must lie between 0 and 1, got 0.0"),
    ],
)
def test_rungs_that_cannot_be_climbed_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        SuccessiveHalving(**changes)
