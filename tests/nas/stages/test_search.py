"""The search stage: how it starts the process that drives Ray."""

import importlib
import inspect
import types

import pytest

from nas import drivers
from nas.errors import RunError
from nas.ray_session import LOCAL_DEFAULTS
from nas.rundir import RunDirectory

stage = importlib.import_module("nas.stages.search")


def started(monkeypatch, tmp_path, code):
    """Runs the stage with a process that ends with a code; returns how it was made."""
    seen = {}

    def popen(command, **options):
        seen.update(options, command=command)
        return types.SimpleNamespace(wait=lambda: code)

    problem = types.SimpleNamespace(require_feasible=lambda _: None)
    monkeypatch.setattr(stage, "problem_of", lambda *_: problem)
    monkeypatch.setattr(stage, "require_askable", lambda *_: None)
    monkeypatch.setattr(drivers.subprocess, "Popen", popen)
    run = types.SimpleNamespace(
        path=tmp_path,
        device=tmp_path,
        tune=tmp_path / "tune",
        archive=tmp_path / "archive.jsonl",
    )
    context = types.SimpleNamespace(
        experiment=types.SimpleNamespace(seed=0), run=run, lock=3, ray_address="auto"
    )
    # Past the type checks, which only a whole context would satisfy.
    monkeypatch.setattr(stage, "run_driver", inspect.unwrap(drivers.run_driver))
    inspect.unwrap(stage.search)(context)
    return seen


def test_search_process_has_rays_settings_from_its_birth(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    seen = started(monkeypatch, tmp_path, 0)
    assert LOCAL_DEFAULTS.items() - seen["env"].items() == {
        ("RAY_USAGE_STATS_ENABLED", "0")
    }
    assert seen["pass_fds"] == (3,)
    assert seen["command"][1:] == ["-m", "nas.search_driver", str(tmp_path), "auto"]


def test_failed_search_process_says_that_nothing_is_lost(monkeypatch, tmp_path):
    with pytest.raises(RunError, match=r"code 1 .*what was finished is kept"):
        started(monkeypatch, tmp_path, 1)


def test_interrupted_search_process_interrupts_the_run(monkeypatch, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        started(monkeypatch, tmp_path, 130)


def test_answers_from_the_archive_are_counted(monkeypatch, tmp_path):
    run = RunDirectory(tmp_path)
    histories = {"Nsga2": [8, 24], "LocalSearch": [16], "RandomSearch": []}
    history = {name: {"evaluations": counts} for name, counts in histories.items()}
    monkeypatch.setattr(stage, "read_json", {run.campaigns: history}.__getitem__)
    assert stage._answered(run, 3) == (
        "search: 40 looks at a subnet, 37 answered from the archive, 3 newly evaluated"
    )
