"""`nas search` as a process: killed and started again, and on a cluster."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from nas.ray_session import LOCAL_DEFAULTS
from nas.rundir import RunDirectory
from search.archive import Archive
from tests.kernels.comparison import quick_options

pytestmark = pytest.mark.slow

TINY = str(Path(__file__).parent / "tiny.py")
LITTLE = (
    *("--model.ffn", "16", "32", "48", "64"),
    *("--train.steps", "2", "--train.validate-every", "2"),
    *("--latency.rounds", "3", "--search.evaluations", "48"),
)
PATIENCE = 300.0
MARK = "NAS_TEST_SEARCH_PROCESS"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Commands compile in a hurry, and what one of them compiled all others find."""
    flags = (f"--{name}={str(on).lower()}" for name, on in quick_options().items())
    return {
        **os.environ,
        **LOCAL_DEFAULTS,
        "XLA_FLAGS": " ".join(flags),
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


def nas(*arguments):
    return [sys.executable, "-m", "nas", *map(str, arguments)]


def done(line, environment):
    """Runs a command to its end and returns what it said."""
    ended = subprocess.run(line, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def measured(environment, tmp_path_factory):
    """A run that is trained and measured, but not searched."""
    out = tmp_path_factory.mktemp("measured") / "run"
    for stage in ("train", "bench"):
        done(nas(stage, TINY, "--out", out, *LITTLE), environment)
    return out


@pytest.fixture(scope="module")
def whole(measured, environment, tmp_path_factory):
    """The same, searched without a disturbance; and what that said."""
    run = copied(measured, tmp_path_factory.mktemp("whole"))
    return run, done(nas("search", run.path), environment)


def copied(measured, folder):
    return RunDirectory(Path(shutil.copytree(measured, folder / "run")))


def archived(run):
    return [
        (record.genotype, record.metrics, record.campaign, record.index)
        for record in Archive(run.archive).records
    ]


def lines(run):
    return run.archive.read_bytes().count(b"\n") if run.archive.exists() else 0


def marked(value):
    """Returns the processes that were started with a mark in their environment."""
    wanted, found = f"{MARK}={value}".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        # One that has ended, but that nobody asked about yet, has no environment.
        if wanted in variables:
            found.append(int(folder.name))
    return found


def wait_until(condition, process=None):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process is None or process.poll() is None, "it ended too early"
        assert time.monotonic() < deadline, "the moment never came"
        time.sleep(0.02)


def test_a_search_says_how_each_campaign_stands(whole):
    _, said = whole
    last = [line for line in said.splitlines() if "48/48 subnets" in line]
    assert [line.split(",")[0] for line in last] == [
        "search: Nsga2",
        "search: RandomSearch",
    ]
    for line in last:
        assert "best loss" in line
        assert "hypervolume" in line
        assert "evaluators 1" in line


def test_a_search_killed_in_the_middle_ends_as_if_it_had_not_been(
    measured, whole, environment, tmp_path
):
    run, mark = copied(measured, tmp_path), str(tmp_path)
    process = subprocess.Popen(
        nas("search", run.path),
        env={**environment, MARK: mark},
        stdout=subprocess.DEVNULL,
    )
    wait_until(lambda: lines(run) >= 12, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = archived(run)
    assert 12 <= len(before) < len(archived(whole[0]))
    # Neither the driver nor anything of Ray outlives the command by much.
    wait_until(lambda: not marked(mark))

    done(nas("search", run.path), environment)
    assert archived(run)[: len(before)] == before
    assert archived(run) == archived(whole[0])
    assert lines(run) == len(archived(run))
    assert run.campaigns.read_text() == whole[0].campaigns.read_text()


GRADIENT = (
    *("--algorithm", "gradient", "--search.evaluators", "2"),
    *("--search.algorithm.steps", "40", "--search.algorithm.batch", "4"),
)


@pytest.mark.long
def test_a_search_by_gradient_killed_in_the_middle_ends_as_if_it_had_not_been(
    measured, environment, tmp_path
):
    whole = copied(measured, tmp_path / "whole")
    said = done(nas("search", whole.path, *GRADIENT), environment)
    assert "search by gradient of the loss: latency_ms <= " in said
    assert "search: GradientSearch, " in said
    run, mark = copied(measured, tmp_path / "killed"), str(tmp_path)
    process = subprocess.Popen(
        nas("search", run.path, *GRADIENT),
        env={**environment, MARK: mark},
        stdout=subprocess.DEVNULL,
    )
    wait_until(lambda: lines(run) >= 3, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = archived(run)
    assert len(before) < len(archived(whole))
    wait_until(lambda: not marked(mark))

    done(nas("search", run.path, *GRADIENT), environment)
    assert archived(run)[: len(before)] == before
    # Bounds are searched side by side, so only their order may be another.
    assert {g: m for g, m, *_ in archived(run)} == {
        g: m for g, m, *_ in archived(whole)
    }
    assert lines(run) == len(archived(run))
    assert run.campaigns.read_text() == whole.campaigns.read_text()


@pytest.fixture(scope="module")
def cluster(environment):
    """A cluster whose head, where commands are given, has nothing to compute with."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environment.items():
            patched.setenv(name, value)
        cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False},
        )
        cluster.add_node(num_cpus=3)
        yield cluster
        cluster.shutdown()


def test_a_search_on_a_cluster_ends_as_one_on_this_machine(
    cluster, measured, whole, environment, tmp_path
):
    run = copied(measured, tmp_path)
    here = {name: v for name, v in environment.items() if name != "RAY_ADDRESS"}
    options = ("--ray-address", cluster.address, "--search.evaluators", "2")
    said = done(nas("search", run.path, *options), here)
    assert "evaluators 2" in said
    expected = archived(whole[0])
    assert [(g, c, i) for g, _, c, i in archived(run)] == [
        (g, c, i) for g, _, c, i in expected
    ]
    for (_, found, _, _), (_, wanted, _, _) in zip(
        archived(run), expected, strict=True
    ):
        # Another number of threads may round otherwise.
        assert found == pytest.approx(wanted, rel=1e-5)


def test_a_cluster_that_is_not_there_is_said_to_be_missing(
    measured, environment, tmp_path
):
    run = copied(measured, tmp_path)
    ended = subprocess.run(
        nas("search", run.path, "--ray-address", "127.0.0.1:1"),
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    assert "nas: cannot join the Ray cluster at '127.0.0.1:1'" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not run.archive.exists()
