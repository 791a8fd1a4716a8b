"""Whole runs: what they leave, what they survive, and that they can be repeated."""

import dataclasses
import html
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from rich.console import Console

import nas
from nas.config import load_recipe
from nas.experiment import Search
from nas.front import Member, load_front, load_landmarks, write_front
from nas.job import print_front
from nas.rundir import RunDirectory, read_json, read_json_lines, short_path
from nas.stages.report import loader
from nas.supernet import load_supernet
from search.archive import Archive
from search.pareto import non_dominated
from search.space import Architecture
from supernets.lowering import fixed_extents
from tests.kernels.comparison import quick_jit, quick_options

TINY = Path(__file__).parent / "tiny.py"
TINY_DIGITS = Path(__file__).parent / "tiny_digits.py"
PATIENCE = 300.0


@pytest.fixture(scope="module", autouse=True)
def _quick_to_compile(tmp_path_factory):
    """Commands compile in a hurry, and what one of them compiled all others find."""
    flags = [
        f"--{name}={str(value).lower()}" for name, value in quick_options().items()
    ]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XLA_FLAGS", " ".join(flags))
        cache = tmp_path_factory.mktemp("compiled")
        patched.setenv("JAX_COMPILATION_CACHE_DIR", str(cache))
        patched.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        yield


def command(out, *options, recipe=str(TINY)):
    return [sys.executable, "-m", "nas", "run", recipe, "--out", str(out), *options]


def run_to_end(out, *options, recipe=str(TINY)):
    done = subprocess.run(
        command(out, *options, recipe=recipe), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A tiny run and what it printed."""
    out = tmp_path_factory.mktemp("run") / "tiny"
    return RunDirectory(out), run_to_end(out)


def test_run_leaves_every_file_of_the_design(finished):
    run, _ = finished
    names = {
        "config.json",
        "provenance.json",
        "metrics.jsonl",
        "checkpoints",
        "device.json",
        "predictors.json",
        "archive.jsonl",
        "front.json",
        "subnets",
        "report.html",
        "front.png",
    }
    assert names <= {entry.name for entry in run.path.iterdir()}


def test_run_ends_with_a_table_of_the_front(finished):
    run, printed = finished
    for member in load_front(run.front):
        assert member.id in printed
        assert f"{member.metrics['test_loss']:.3f}" in printed
    assert "test loss" in printed
    assert "bits/byte" in printed
    assert "latency" in printed
    assert "parameters" in printed


def test_front_is_non_dominated_and_satisfies_the_constraint(finished):
    run, _ = finished
    front = load_front(run.front)
    objectives = np.asarray(
        [[m.metrics["loss"], m.metrics["latency_ms"]] for m in front]
    )
    assert non_dominated(objectives).all()
    largest = next(m for m in read_json(run.device)["measurements"] if is_largest(m))
    assert objectives[:, 1].max() <= 0.95 * largest["latency_ms"]


def is_largest(measurement):
    largest = load_recipe(str(TINY)).model.space().largest.tolist()
    return measurement["role"] == "fit" and measurement["genotype"] == largest


def test_nothing_is_evaluated_twice(finished):
    run, _ = finished
    records = Archive(run.archive).records
    assert len({record.genotype for record in records}) == len(records)
    lines = run.archive.read_text().splitlines()
    assert len(lines) == len(records)


def test_exported_subnets_give_the_supernets_outputs(finished):
    run, _ = finished
    experiment = run.experiment()
    supernet, space = load_supernet(run), experiment.model.space()
    tokens = jnp.asarray(experiment.data.fixed("search", 2)[0])
    # One is enough: each was compared when it was exported.
    member = load_front(run.front)[-1]
    network = nas.load_subnet(run.subnets / member.id)
    extents = fixed_extents(space, space.encode(member.arch))
    expected = output(supernet, tokens, extents)
    np.testing.assert_allclose(output(network, tokens), expected, atol=1e-4)
    plain = {type(node).__module__ for _, node in nnx.iter_graph(network)}
    assert "supernets.layers" not in " ".join(plain)


def output(network, tokens, *extents):
    graph, state = nnx.split(network)
    run = quick_jit(lambda state, tokens: nnx.merge(graph, state)(tokens, *extents))
    return run(state, tokens)


def test_report_loads_a_subnet_with_its_own_ten_lines(finished, tmp_path):
    run, _ = finished
    report = run.report.read_text()
    assert "://" not in report.replace("http://www.w3.org", "")
    folder = run.subnets / load_front(run.front)[0].id
    lines = loader(run.experiment().data, short_path(folder))
    assert html.escape(lines, quote=False).splitlines()[-1] in report
    script = tmp_path / "load.py"
    script.write_text(
        lines + "\nimport sys\nassert not {'nas', 'flax', 'supernets'} & {*sys.modules}"
        "\nassert logits.shape == (1, inputs.shape[1], 256)\n"
    )
    subprocess.run([sys.executable, "-I", str(script)], check=True)


def test_the_closing_table_tells_and_orders_by_what_was_searched_for(tmp_path):
    search = Search(objectives=("loss", "bops", "params"), constraints=())
    run = RunDirectory(tmp_path)
    run.claim(dataclasses.replace(load_recipe(str(TINY)), search=search))
    told = {"latency_ms": 1.5, "params": 1234.0, "test_loss": 2.5}
    members = [
        Member(
            Architecture((0,), (("width", width),), ()), told | {"bops": bops}, {}, ""
        )
        for width, bops in ((8, 7.25e9), (16, 5.5e9))
    ]
    write_front(run.front, members)
    console = Console(file=io.StringIO(), width=100)
    print_front(run, console)
    lines = console.file.getvalue().splitlines()
    (heading,) = [line for line in lines if "test loss" in line]
    assert heading.split() == [
        *("test", "loss", "bit", "operations", "latency", "parameters")
    ]
    rows = [line.split() for line in lines if "1,234" in line]
    assert rows == [
        [members[1].id, "2.500", "5.50", "1.50", "1,234"],
        [members[0].id, "2.500", "7.25", "1.50", "1,234"],
    ]


def test_running_the_same_line_again_does_nothing_twice(finished):
    run, _ = finished
    before = {p: p.stat().st_mtime_ns for p in run.path.rglob("model.*")}
    archive = run.archive.read_bytes()
    printed = run_to_end(run.path)
    assert "train: done before" in printed
    assert {p: p.stat().st_mtime_ns for p in run.path.rglob("model.*")} == before
    assert run.archive.read_bytes() == archive


@pytest.mark.long
def test_stages_one_by_one_equal_one_run(finished, tmp_path):
    """`nas train`, `bench`, ... leave what `nas run` leaves."""
    run, _ = finished
    out = tmp_path / "staged"
    profile = ["--latency-profile", str(run.device)]
    for stage in ("train", "bench", "search", "export", "report"):
        line = [sys.executable, "-m", "nas", stage, str(TINY), "--out", str(out)]
        subprocess.run([*line, *profile], check=True, capture_output=True)
    assert_same_result(run, RunDirectory(out))


def assert_same_result(first, second):
    """Same weights bit for bit, same evaluations in the same order, same front."""
    assert first.supernet.read_bytes() == second.supernet.read_bytes()
    assert archived(first) == archived(second)
    assert json.loads(first.front.read_text()) == json.loads(second.front.read_text())


def archived(run):
    return [
        (record.genotype, record.arch, record.metrics, record.campaign, record.index)
        for record in Archive(run.archive).records
    ]


def kill_when(condition, out):
    """Starts the run and kills it, and only it, once the condition holds."""
    process = subprocess.Popen(
        command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline, "the moment to kill never came"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def finished_digits(tmp_path_factory):
    """A tiny run on images of two tasks, and what it printed."""
    out = tmp_path_factory.mktemp("run") / "digits"
    return RunDirectory(out), run_to_end(out, recipe=str(TINY_DIGITS))


@pytest.mark.long
def test_images_of_two_tasks_are_searched_by_the_error_of_each(finished_digits):
    run, printed = finished_digits
    for heading in ("test error", "of digit", "of corner", "share"):
        assert heading in printed
    front, experiment = load_front(run.front), run.experiment()
    assert experiment.shown == ("error_digit", "error_corner")
    names = [*experiment.search.objectives]
    objectives = np.asarray([[m.metrics[name] for name in names] for m in front])
    assert non_dominated(objectives).all()
    inputs = experiment.data.fixed("test", 3).inputs
    for member in front:
        scores = {n: v for n, v in member.metrics.items() if n.startswith("test_")}
        assert scores.keys() == {f"test_{name}" for name in experiment.scores}
        assert 0 <= scores["test_error_digit"] <= 1
        # Losses of images are in nats as they are.
        both = scores["test_loss_digit"] + scores["test_loss_corner"]
        assert scores["test_loss"] == pytest.approx(both)
    logits = output(nas.load_subnet(run.subnets / front[0].id), inputs)
    assert {task: row.shape for task, row in logits.items()} == {
        "digit": (3, 10),
        "corner": (3, 4),
    }
    report = run.report.read_text()
    for text in (
        "Error of digit",
        "nats per image",
        "inputs = np.zeros((1, 12, 12, 1)",
    ):
        assert text in report


@pytest.mark.slow
def test_killed_four_times_a_run_equals_an_uninterrupted_one(tmp_path):
    run = RunDirectory(tmp_path / "killed")

    def training():
        return len(list(run.checkpoints.glob("[0-9]*"))) > 1

    def measuring():
        time.sleep(1.0 if "train" in run.finished() else 0.0)
        return "train" in run.finished()

    def searching():
        return run.archive.exists() and run.archive.read_bytes().count(b"\n") >= 10

    def exporting():
        return run.subnets.exists() and any(run.subnets.glob("[0-9a-f]*"))

    stages = {
        training: "train",
        measuring: "calibrate",
        searching: "search",
        exporting: "export",
    }
    for condition, stage in stages.items():
        kill_when(condition, run.path)
        assert stage not in run.finished(), f"{stage} was over before the kill"
    held = Archive(run.archive).records
    run_to_end(run.path)
    records = Archive(run.archive).records
    assert records[: len(held)] == held
    assert len({record.genotype for record in records}) == len(records)

    whole = RunDirectory(tmp_path / "whole")
    run_to_end(whole.path, "--latency-profile", str(run.device))
    assert_same_result(run, whole)
    assert read_json_lines(run.metrics) == read_json_lines(whole.metrics)


@pytest.mark.slow
def test_ctrl_c_ends_cleanly_and_the_run_goes_on(tmp_path):
    run = RunDirectory(tmp_path / "interrupted")

    def training():
        return run.checkpoints.exists() and any(run.checkpoints.glob("[0-9]*"))

    def searching():
        return run.archive.exists() and run.archive.read_bytes().count(b"\n") >= 10

    for moment in (training, searching):
        code, said = interrupt_when(moment, run.path)
        assert code == 130, said
        assert re.search(r"stopped.*run the same command again to go on", said)
        assert "Traceback" not in said
    run_to_end(run.path)
    assert len(load_front(run.front)) > 0


def interrupt_when(condition, out):
    """Starts the run and sends what Ctrl-C sends: an interrupt to the whole group."""
    process = subprocess.Popen(
        command(out),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "the moment to interrupt never came"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, said


@pytest.mark.slow
def test_quickstart_finds_a_front_worth_having(tmp_path):
    run = RunDirectory(tmp_path / "quickstart")
    run_to_end(run.path, recipe="experiments.quickstart")
    front = load_front(run.front)
    assert len(front) >= 6
    validation = [
        line["validation"]
        for line in read_json_lines(run.metrics)
        if "validation" in line
    ]
    untrained = min(validation[0].values())
    assert max(member.metrics["test_loss"] for member in front) < untrained - 2.0
    landmarks = {mark.label: mark.metrics for mark in load_landmarks(run.landmarks)}
    assert landmarks["largest"]["test_loss"] < landmarks["smallest"]["test_loss"] - 0.1
    assert landmarks["largest"]["loss"] < landmarks["smallest"]["loss"] - 0.1
