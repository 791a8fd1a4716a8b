"""Campaigns driven by a real Ray: the same archive as alone, whatever dies."""

import functools
import json
import os
import shutil
import sys

import numpy as np
import pytest
import ray

from nas.ray_session import ray_session
from search import tune
from search.archive import Archive
from search.campaign import run_campaign
from search.nsga2 import Nsga2
from search.random_search import RandomSearch
from search.stopping import Stop
from search.tune import Campaign, run_campaigns
from search.workers import CHUNK, Workers
from tests.search import toy as toy_module
from tests.search.toy import Toy

REFERENCE = np.asarray([1.0, 41.0])
BUDGET = 20
EVOLUTION = Campaign(
    name="evolution",
    algorithm=Nsga2(population=8),
    seed=3,
    stop=Stop(evaluations=BUDGET),
)
RANDOM = Campaign(
    name="random",
    algorithm=RandomSearch(batch=8),
    seed=3,
    stop=Stop(evaluations=BUDGET),
)


@pytest.fixture(scope="session")
def ray_here():
    """One Ray for all tests; what is defined in tests travels to it by value."""
    modules = (sys.modules[__name__], toy_module)
    with ray_session(None, cpus=3):
        for module in modules:
            ray.cloudpickle.register_pickle_by_value(module)
        yield ray
        for module in modules:
            ray.cloudpickle.unregister_pickle_by_value(module)


class MakeEvaluate:
    """Scores the toy, and notes each call in a file that outlives its process.

    Args:
        log: Where calls are noted, a line of JSON each.
        before: Called with the number of calls that were noted before each.
    """

    def __init__(self, log, before=lambda _: None):
        self.log = log
        self.before = before

    def __call__(self, weights):
        toy = Toy()

        def evaluate(genotypes):
            self.before(len(self.calls()))
            with self.log.open("a") as file:
                file.write(json.dumps(genotypes.tolist()) + "\n")
            return {"error": toy.error(genotypes) * weights["scale"]}

        return evaluate

    def calls(self):
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def evaluated(self):
        return [tuple(genotype) for call in self.calls() for genotype in call]


def search(tmp_path, make, *campaigns, workers=1):
    """Runs campaigns and returns the archive and the progress that was told."""
    told = []
    run_campaigns(
        Toy().problem,
        campaigns,
        reference=REFERENCE,
        make_evaluate=make,
        weights={"scale": np.ones(())},
        workers=Workers(count=workers, resources={"CPU": 1.0}),
        archive=tmp_path / "archive.jsonl",
        storage=tmp_path / "tune",
        on_progress=told.append,
    )
    return Archive(tmp_path / "archive.jsonl"), told


def alone(*campaigns):
    """Returns what the campaigns archive in this process, and their progress."""
    toy, archive, told = Toy(), Archive(), []
    for campaign in campaigns:
        run_campaign(
            toy.problem,
            campaign.algorithm,
            toy.evaluate,
            archive,
            name=campaign.name,
            seed=campaign.seed,
            budget=campaign.stop,
            reference=REFERENCE,
            on_generation=told.append,
        )
    return archive, told


def content(archive):
    return [
        (r.genotype, r.arch, r.metrics, r.campaign, r.index) for r in archive.records
    ]


def dies_once(marker, calls):
    """Ends the evaluator's process at its second call, the first time it gets there."""
    if calls == 1 and not marker.exists():
        marker.touch()
        os._exit(1)


@pytest.fixture(scope="module")
def finished(ray_here, tmp_path_factory):
    """Two campaigns whose evaluator died once: folder, evaluator and progress."""
    folder = tmp_path_factory.mktemp("finished")
    assert ray_here.is_initialized()
    before = functools.partial(dies_once, folder / "died")
    make = MakeEvaluate(folder / "log", before)
    _, told = search(folder, make, EVOLUTION, RANDOM)
    return folder, make, told


def test_campaigns_archive_what_they_do_alone_though_a_worker_died(finished):
    folder, _, told = finished
    assert (folder / "died").exists()
    expected, progress = alone(EVOLUTION, RANDOM)
    assert content(Archive(folder / "archive.jsonl")) == content(expected)
    assert told == progress


def test_campaigns_share_the_archive_and_evaluate_nothing_twice(finished):
    folder, make, _ = finished
    evaluated = make.evaluated()
    assert len(set(evaluated)) == len(evaluated)
    records = Archive(folder / "archive.jsonl").records
    assert set(evaluated) == {record.genotype for record in records}
    # Each alone needs its budget, and some of that is the same subnets.
    assert BUDGET < len(records) < 2 * BUDGET
    assert all(0 < len(call) <= CHUNK for call in make.calls())


@pytest.mark.slow
def test_a_complete_archive_is_told_again_and_not_evaluated(finished, tmp_path):
    folder, _, told = finished
    shutil.copy(folder / "archive.jsonl", tmp_path)
    held = (tmp_path / "archive.jsonl").read_bytes()
    make = MakeEvaluate(tmp_path / "log")
    _, again = search(tmp_path, make, EVOLUTION, RANDOM)
    assert make.calls() == []
    assert (tmp_path / "archive.jsonl").read_bytes() == held
    assert again == told


def breaks(calls):
    if calls >= 1:
        raise ArithmeticError("the accelerator is on fire")


@pytest.mark.usefixtures("ray_here")
def test_a_failing_evaluator_is_told_with_its_cause_and_loses_nothing(
    tmp_path, monkeypatch
):
    # The first failure is the last: restarting is Tune's own, and takes its time.
    monkeypatch.setattr(tune, "MAX_RESTARTS", 0)
    make = MakeEvaluate(tmp_path / "log", breaks)
    with pytest.raises(RuntimeError, match="1 of 1 campaigns failed") as caught:
        search(tmp_path, make, EVOLUTION)
    assert "ArithmeticError" in str(caught.value)
    assert "the accelerator is on fire" in str(caught.value)
    expected, _ = alone(EVOLUTION)
    archive = Archive(tmp_path / "archive.jsonl")
    assert content(archive) == content(expected)[: len(archive)]
    assert len(archive) == len(make.evaluated()) > 0


@pytest.mark.slow
def test_an_archive_cut_short_is_completed_by_two_workers_as_by_one(finished, tmp_path):
    folder, _, told = finished
    lines = (folder / "archive.jsonl").read_bytes().splitlines(keepends=True)
    # The last line is torn, as a killed process leaves it.
    (tmp_path / "archive.jsonl").write_bytes(b"".join(lines[:11]) + lines[11][:20])
    make = MakeEvaluate(tmp_path / "log")
    archive, again = search(tmp_path, make, EVOLUTION, RANDOM, workers=2)
    assert content(archive) == content(Archive(folder / "archive.jsonl"))
    assert again == told
    assert len(make.evaluated()) == len(lines) - 11
