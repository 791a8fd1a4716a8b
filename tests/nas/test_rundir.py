"""The run directory: files appear whole, belong to one run, and are read with care."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nas import rundir
from nas.config import encode, load_recipe
from nas.data.reading import Reading
from nas.errors import RunError, UsageError
from nas.experiment import Experiment
from nas.rundir import (
    RunDirectory,
    append_json_line,
    read_json,
    read_json_lines,
    short_path,
    write_bytes,
    write_json,
)
from supernets.decoder.spec import Decoder
from supernets.losses.pgd import Pgd
from supernets.sharding.spec import Parallel

EXPERIMENT = Experiment(
    model=Decoder(width=(8, 16), heads=(1, 2), ffn=(8, 16), depth=(1, 2), head_dim=4)
)


class Crash(Exception):
    pass


def crash(*_):
    raise Crash


@pytest.mark.parametrize(("where", "name"), [(os, "fsync"), (Path, "replace")])
def test_a_crash_while_writing_leaves_the_old_file(tmp_path, monkeypatch, where, name):
    path = tmp_path / "deep" / "front.json"
    write_json(path, {"generation": 1})
    with monkeypatch.context() as patched:
        patched.setattr(where, name, crash)
        with pytest.raises(Crash):
            write_json(path, {"generation": 2})
        with pytest.raises(Crash):
            write_json(path.with_name("new.json"), {})
    assert read_json(path) == {"generation": 1}
    assert not path.with_name("new.json").exists()
    write_json(path, {"generation": 3})
    assert read_json(path) == {"generation": 3}


def test_what_is_written_is_read_back(tmp_path):
    write_bytes(tmp_path / "raw", b"\x00\xff")
    assert (tmp_path / "raw").read_bytes() == b"\x00\xff"
    write_json(tmp_path / "value.json", {"a": [1, 2.5, None, "x"]})
    assert read_json(tmp_path / "value.json") == {"a": [1, 2.5, None, "x"]}
    assert [entry.name for entry in sorted(tmp_path.iterdir())] == ["raw", "value.json"]


@pytest.mark.parametrize("content", [b"", b'{"torn": ', b"\xff\xfe\x00"])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path, content):
    path = tmp_path / "stages.json"
    path.write_bytes(content)
    message = r"stages\.json is damaged \(.*\); remove it and run the same command"
    with pytest.raises(RunError, match=message):
        read_json(path)
    with pytest.raises(RunError, match=message):
        RunDirectory(tmp_path).finished()


def test_a_missing_file_and_another_kind_of_value_are_named(tmp_path):
    with pytest.raises(RunError, match=r"absent\.json is missing"):
        read_json(tmp_path / "absent.json")
    (tmp_path / "stages.json").write_text("[1]")
    with pytest.raises(RunError, match=r"stages\.json should hold a JSON object"):
        read_json(tmp_path / "stages.json")
    with pytest.raises(RunError, match=r"stages\.json is damaged; remove it"):
        RunDirectory(tmp_path).finished()


def test_a_torn_last_line_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert read_json_lines(path) == []
    append_json_line(path, {"step": 1})
    append_json_line(path, {"step": 2})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        complete = whole[:length].count(b"\n")
        assert read_json_lines(path) == [{"step": 1}, {"step": 2}][:complete]


def test_a_damaged_line_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n\x00\xff\n{"step": 3}\n')
    with pytest.raises(RunError, match=r"metrics\.jsonl, line 2 is damaged"):
        read_json_lines(path)


def test_a_directory_is_claimed_for_one_experiment(tmp_path):
    run = RunDirectory(tmp_path / "new")
    run.check(EXPERIMENT)
    assert not run.path.exists()
    run.claim(EXPERIMENT)
    assert run.experiment() == EXPERIMENT
    written = run.config.stat().st_mtime_ns
    run.claim(EXPERIMENT)
    assert run.config.stat().st_mtime_ns == written


def test_another_configuration_is_refused_field_by_field(tmp_path):
    run = RunDirectory(tmp_path)
    run.claim(EXPERIMENT)
    train = dataclasses.replace(EXPERIMENT.train, steps=7)
    other = dataclasses.replace(EXPERIMENT, train=train, seed=1)
    with pytest.raises(UsageError, match="another configuration") as caught:
        run.claim(other)
    _, *changed, advice = str(caught.value).splitlines()
    assert changed == ["  seed: 0 -> 1", "  train.steps: 300 -> 7"]
    assert advice == "Go back to the old values to resume it, or give another --out."
    assert run.experiment() == EXPERIMENT


def changed(**values):
    search = dataclasses.replace(EXPERIMENT.search, **values)
    return dataclasses.replace(EXPERIMENT, search=search)


def test_the_search_may_change_but_not_what_scores_mean(tmp_path):
    run = RunDirectory(tmp_path)
    assert run.search_changes(EXPERIMENT) == []
    run.claim(EXPERIMENT)
    relaxed = changed(constraints=("latency_ms <= 80%",))
    run.claim(relaxed)
    assert run.experiment() == relaxed
    run.archive.touch()
    assert run.search_changes(relaxed) == []
    run.check(EXPERIMENT)
    (line,) = run.search_changes(EXPERIMENT)
    assert line.startswith("search.constraints: ")
    # How many evaluate changes nothing that they find.
    assert run.search_changes(changed(constraints=relaxed.search.constraints)) == []
    many = changed(constraints=relaxed.search.constraints, evaluators=3)
    assert run.search_changes(many) == []
    with pytest.raises(UsageError, match=r"search\.examples: 32 -> 8"):
        run.check(changed(examples=8))
    stored = run.read_config()
    stored["search"]["adversary"] = encode(Pgd())
    write_json(run.config, stored)
    with pytest.raises(UsageError, match=r"search\.adversary\.epsilon: 0\.03"):
        run.check(EXPERIMENT)


def test_results_that_were_set_aside_are_no_run(tmp_path):
    run = RunDirectory(tmp_path)
    earlier = RunDirectory(run.earlier / "1")
    run.claim(EXPERIMENT)
    write_json(earlier.config, run.read_config())
    with pytest.raises(UsageError, match="holds the results of an earlier search of"):
        earlier.check(EXPERIMENT)


def test_a_directory_of_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"dear")
    with pytest.raises(
        UsageError, match=r"holds files but no run .*empty or new --out"
    ):
        RunDirectory(tmp_path).claim(EXPERIMENT)
    assert [entry.name for entry in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_directory_without_a_run_has_no_experiment(tmp_path):
    with pytest.raises(UsageError, match=r"is not a run directory: no config\.json"):
        RunDirectory(tmp_path).experiment()
    (tmp_path / "config.json").write_text(json.dumps({"type": "nas.nothing:X"}))
    with pytest.raises(UsageError, match=r"No module named 'nas\.nothing'"):
        RunDirectory(tmp_path).experiment()


def test_finished_stages_are_kept_with_their_seconds(tmp_path):
    run = RunDirectory(tmp_path)
    assert run.finished() == {}
    run.finish("train", 12.34567)
    run.finish("calibrate", 2.0)
    assert RunDirectory(tmp_path).finished() == {"train": 12.346, "calibrate": 2.0}


def test_a_locked_directory_is_refused_to_a_second_process(tmp_path, monkeypatch):
    monkeypatch.setattr(rundir, "LOCK_SECONDS", 0.15)
    run = RunDirectory(tmp_path / "run")
    with run.locked():
        # A lock is of the open file, so another handle is as good as another process.
        message = r"another process is working in .*run; wait for it or stop it"
        with pytest.raises(RunError, match=message), run.locked():
            pass
    with run.locked():
        pass


def test_a_second_process_waits_until_the_first_is_gone(tmp_path):
    run = RunDirectory(tmp_path)
    waits = (
        "import sys\nfrom pathlib import Path\nfrom nas.rundir import RunDirectory\n"
        "print('waiting', flush=True)\n"
        "with RunDirectory(Path(sys.argv[1])).locked(): print('mine', flush=True)"
    )
    with run.locked():
        second = subprocess.Popen(
            [sys.executable, "-c", waits, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert second.stdout.readline() == "waiting\n"
        assert second.poll() is None
    said, _ = second.communicate(timeout=60)
    assert (said, second.returncode) == ("mine\n", 0)


def test_waiting_for_another_process_is_told_once(tmp_path, monkeypatch):
    monkeypatch.setattr(rundir, "LOCK_SECONDS", 0.5)
    monkeypatch.setattr(rundir, "TELL_SECONDS", 0.05)
    run, told = RunDirectory(tmp_path), []
    with run.locked(told.append):
        assert told == []
        with pytest.raises(RunError), run.locked(told.append):
            pass
    (message,) = told
    assert re.search(rf"another process is working in {tmp_path}; waiting", message)


def test_a_child_that_inherits_the_lock_keeps_it(tmp_path, monkeypatch):
    monkeypatch.setattr(rundir, "LOCK_SECONDS", 0.0)
    run = RunDirectory(tmp_path)
    with run.locked() as lock:
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,)
        )
    with pytest.raises(RunError, match="another process"), run.locked():
        pass
    child.communicate(b"\n")
    with run.locked():
        pass


def test_a_path_that_cannot_be_a_directory_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with (
            pytest.raises(UsageError, match=r"cannot be a run directory .* --out"),
            RunDirectory(path).locked(),
        ):
            pass


def test_paths_below_the_working_directory_are_shortened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert short_path(tmp_path / "runs" / "a") == Path("runs/a")
    assert short_path(tmp_path.parent / "b") == tmp_path.parent / "b"
    assert RunDirectory(Path("runs/a")).path == tmp_path / "runs" / "a"


def test_a_run_may_go_on_with_other_devices(tmp_path):
    run, experiment = RunDirectory(tmp_path), load_recipe("experiments.quickstart")
    run.claim(experiment)
    train = dataclasses.replace(
        experiment.train, parallel=Parallel(data=1), reading=Reading(threads=1)
    )
    moved = dataclasses.replace(experiment, train=train)
    run.claim(moved)
    assert run.experiment() == moved
    other = dataclasses.replace(train, batch=4)
    with pytest.raises(UsageError, match=r"train\.batch"):
        run.claim(dataclasses.replace(experiment, train=other))
