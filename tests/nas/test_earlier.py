"""Results of former searches: they move together, and a killed move is completed."""

import shutil
from pathlib import Path

import pytest

from nas.config import load_recipe
from nas.earlier import finish_move, has_results, lasting, set_aside
from nas.rundir import RunDirectory, read_json, write_json

RESULTS = ("campaigns.json", "front.json", "landmarks.json", "report.html", "front.png")
KEPT = ("archive.jsonl", "device.json", "supernet.safetensors")
FINISHED = {"train": 9.0, "calibrate": 3.0, "search": 2.0, "verify": 1.0}


class Killed(Exception):
    pass


@pytest.fixture
def run(tmp_path):
    """A run that was searched, with a file for each of its results."""
    run = RunDirectory(tmp_path / "run")
    run.claim(load_recipe("experiments.quickstart"))
    for name in (*RESULTS, *KEPT):
        (run.path / name).write_text(f"first {name}")
    for folder in (run.subnets, run.finetuned):
        (folder / "abc").mkdir(parents=True)
        (folder / "abc" / "model.safetensors").write_text("weights")
    write_json(run.stages, FINISHED)
    return run


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def assert_moved(run, folder):
    for name in RESULTS:
        assert (folder / name).read_text() == f"first {name}"
        assert not (run.path / name).exists()
    for name in KEPT:
        assert (run.path / name).read_text() == f"first {name}"
        assert not (folder / name).exists()
    assert (folder / "subnets" / "abc" / "model.safetensors").read_text() == "weights"
    assert (folder / "finetuned" / "abc").is_dir()
    assert not run.subnets.exists()
    assert run.finished() == {"train": 9.0, "calibrate": 3.0}
    assert read_json(folder / "stages.json") == {"search": 2.0, "verify": 1.0}
    assert RunDirectory(folder).experiment() == run.experiment()


def test_results_move_together_with_their_configuration(run):
    assert has_results(run)
    folder = set_aside(run)
    assert folder == run.path / "earlier" / "1"
    assert_moved(run, folder)
    assert not has_results(run)
    assert [entry.name for entry in run.earlier.iterdir()] == ["1"]


def test_each_search_gets_a_number_of_its_own(run):
    set_aside(run)
    run.front.write_text("second")
    (run.earlier / "notes").write_text("of a person")
    folder = set_aside(run)
    assert folder.name == "2"
    assert (folder / "front.json").read_text() == "second"
    assert (run.earlier / "1" / "front.json").read_text() == "first front.json"


def test_what_a_search_builds_on_lasts():
    assert lasting(FINISHED) == {"train": 9.0, "calibrate": 3.0}
    assert lasting({"train": 9.0}) == {"train": 9.0}


def test_a_run_that_was_not_searched_has_no_results(tmp_path):
    run = RunDirectory(tmp_path)
    assert not has_results(run)
    write_json(run.stages, {"train": 9.0, "calibrate": 3.0})
    run.archive.write_text("killed while it searched")
    assert not has_results(run)
    finish_move(run)
    assert not run.earlier.exists()


def moves_of(run, tmp_path, monkeypatch):
    """Returns how often a whole move renames something."""
    count = 0
    original = Path.replace

    def counted(self, target):
        nonlocal count
        count += 1
        return original(self, target)

    copy = RunDirectory(tmp_path / "counted")
    shutil.copytree(run.path, copy.path)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", counted)
        set_aside(copy)
    return count


def kill_at(monkeypatch, renames):
    """Lets so many renames happen, and ends the process at the next."""
    original, left = Path.replace, [renames]

    def replace(self, target):
        if not left[0]:
            raise Killed
        left[0] -= 1
        return original(self, target)

    monkeypatch.setattr(Path, "replace", replace)


def test_killed_at_any_moment_nothing_is_lost_and_the_move_is_completed(
    run, tmp_path, monkeypatch
):
    total = moves_of(run, tmp_path, monkeypatch)
    assert total > len(RESULTS)
    whole, outcomes = files(run.path), []
    for renames in range(total):
        copy = RunDirectory(tmp_path / f"killed-{renames}")
        shutil.copytree(run.path, copy.path)
        with monkeypatch.context() as patched:
            kill_at(patched, renames)
            with pytest.raises(Killed):
                set_aside(copy)
        finish_move(copy)
        finish_move(copy)
        outcomes.append(has_results(copy))
        if has_results(copy):
            assert files(copy.path) == whole
            assert not any(copy.earlier.iterdir())
        else:
            assert_moved(copy, copy.earlier / "1")
    # Before the configuration is in the folder nothing moves; then everything does.
    assert outcomes == sorted(outcomes, reverse=True)
    assert set(outcomes) == {True, False}


def test_a_move_that_was_killed_twice_is_completed(run, monkeypatch):
    with monkeypatch.context() as patched:
        kill_at(patched, 4)
        with pytest.raises(Killed):
            set_aside(run)
    with monkeypatch.context() as patched:
        kill_at(patched, 2)
        with pytest.raises(Killed):
            finish_move(run)
    finish_move(run)
    assert_moved(run, run.earlier / "1")
