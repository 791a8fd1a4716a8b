"""Campaigns driven by a real Ray: the same archive as alone, whatever dies."""

import functools
import os
import shutil
import sys

import pytest
import ray

from nas.ray_session import ray_session
from search import tune
from search.archive import Archive
from search.tune import CampaignError
from search.workers import CHUNK, Workers
from tests.search.on_ray import (
    BUDGET,
    EVOLUTION,
    RANDOM,
    MakeEvaluate,
    alone,
    by_value,
    content,
    search,
)


@pytest.fixture(scope="module")
def ray_here():
    """One Ray for all tests."""
    with ray_session(None, cpus=3), by_value(sys.modules[__name__]):
        yield ray


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
    two = Workers(count=2, resources={"CPU": 1.0})
    archive, again = search(tmp_path, make, EVOLUTION, RANDOM, workers=two)
    assert content(archive) == content(Archive(folder / "archive.jsonl"))
    assert again == told
    assert len(make.evaluated()) == len(lines) - 11


def always_dies(_):
    os._exit(1)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_evaluators_that_die_again_and_again_are_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(tune, "MAX_RESTARTS", 0)
    make = MakeEvaluate(tmp_path / "log", always_dies)
    with pytest.raises(CampaignError, match=r"all 1 evaluators were lost.*4 times"):
        search(tmp_path, make, EVOLUTION)
    assert not (tmp_path / "archive.jsonl").exists()
