"""Copies of checkpoints: complete or not there; another machine goes on from them."""

import dataclasses
import shutil
import time

import fsspec
import pytest

from nas.config import load_recipe
from nas.errors import UsageError
from nas.rundir import RunDirectory, write_bytes
from nas.training.store import Store

EXPERIMENT = load_recipe("experiments.quickstart")


def run_at(path, experiment=EXPERIMENT):
    run = RunDirectory(path)
    run.claim(experiment)
    return run


def checkpoint(run, step):
    write_bytes(run.checkpoints / str(step) / "state" / "d" / "x", bytes([step]))
    write_bytes(run.metrics, b'{"step": %d}\n' % step)


@pytest.fixture
def url(tmp_path):
    return f"file://{tmp_path / 'bucket'}"


@pytest.fixture
def filled(tmp_path, url):
    run = run_at(tmp_path / "run")
    with Store(url, run, warn=pytest.fail) as store:
        for step in (10, 20, 30):
            checkpoint(run, step)
            store.add(step)
            while step not in store._complete():
                time.sleep(0.01)
    return tmp_path / "bucket"


def test_the_newest_copies_are_kept(filled):
    names = sorted(entry.name for entry in filled.iterdir())
    assert names == [
        *("20", "20.json", "20.jsonl", "30", "30.json", "30.jsonl", "config.json")
    ]


@pytest.mark.usefixtures("filled")
def test_another_machine_goes_on_from_the_newest_copy(url, tmp_path):
    other = run_at(tmp_path / "other")
    assert Store(url, other, warn=pytest.fail).fetch() == 30
    assert (other.checkpoints / "30/state/d/x").read_bytes() == bytes([30])
    assert other.metrics.read_bytes() == b'{"step": 30}\n'
    assert [p.name for p in other.checkpoints.iterdir()] == ["30"]


def test_a_copy_without_its_mark_is_not_complete(filled, url, tmp_path):
    (filled / "30.json").unlink()
    assert Store(url, run_at(tmp_path / "other"), warn=pytest.fail).fetch() == 20


@pytest.mark.usefixtures("filled")
def test_checkpoints_that_are_here_are_not_replaced(url, tmp_path):
    other = run_at(tmp_path / "other")
    checkpoint(other, 5)
    assert Store(url, other, warn=pytest.fail).fetch() is None
    assert [p.name for p in other.checkpoints.iterdir()] == ["5"]


def test_an_empty_store_has_nothing_to_bring(url, tmp_path):
    assert Store(url, run_at(tmp_path / "run"), warn=pytest.fail).fetch() is None


@pytest.mark.usefixtures("filled")
def test_copies_of_another_configuration_are_refused(url, tmp_path):
    other = run_at(tmp_path / "other", dataclasses.replace(EXPERIMENT, seed=7))
    with pytest.raises(UsageError, match=r"another configuration:\n  seed"):
        Store(url, other, warn=pytest.fail).fetch()


def test_a_place_that_nobody_knows_is_refused(tmp_path):
    with pytest.raises(UsageError, match="--store nowhere://x cannot be used"):
        Store("nowhere://x", run_at(tmp_path), warn=pytest.fail)


def test_a_copy_that_fails_is_told_and_the_next_is_made(url, tmp_path):
    run, said = run_at(tmp_path / "run"), []
    bucket = tmp_path / "bucket"
    with Store(url, run, warn=said.append) as store:
        shutil.rmtree(bucket)
        bucket.write_text("in the way")
        checkpoint(run, 10)
        store.add(10)
        while not said:
            time.sleep(0.01)
        bucket.unlink()
        checkpoint(run, 20)
        store.add(20)
    (message,) = said
    assert message.startswith(f"checkpoint of step 10 could not be copied to {url} (")
    assert fsspec.filesystem("file").exists(f"{bucket}/20.json")


def test_a_checkpoint_that_was_never_written_is_not_waited_for(url, tmp_path):
    run = run_at(tmp_path / "run")
    with Store(url, run, warn=pytest.fail) as store:
        store.add(10)
        checkpoint(run, 20)
        store.add(20)
    assert store._complete() == [20]
