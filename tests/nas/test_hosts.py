"""Several processes train one supernet: as one would, and not without each other."""

import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import load_file

from nas.errors import UsageError
from nas.hosts import ALONE, Hosts, join
from nas.rundir import RunDirectory

RECIPE = (
    *("experiments.quickstart", "--data.tokens", "16", "--train.batch", "4"),
    *("--model.width", "16", "32", "--model.heads", "1", "2", "--model.ffn", "16"),
    *("32", "--model.depth", "1", "2", "--model.head-dim", "8"),
    *("--train.validate-every", "10", "--train.checkpoint-every", "5"),
)


def test_one_process_is_the_first_and_needs_nobody():
    assert join(None, None, None) == ALONE
    assert ALONE.first
    assert ALONE.highest(7) == 7
    ALONE.meet("nowhere")
    ALONE.part_ways()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((None, 2, 0), "--processes and --process need --coordinator"),
        (("host:1", None, 0), "needs --processes, how many there are, and --process"),
        (("host:1", 2, None), "needs --processes"),
        (("host:1", 2, 2), r"--process is 2: it must lie in 0\.\.1"),
    ],
)
def test_options_that_do_not_go_together_are_refused(given, message):
    with pytest.raises(UsageError, match=message):
        join(*given)


def test_only_what_a_lost_process_causes_is_explained_by_one():
    two = Hosts(index=0, count=2)
    with pytest.raises(ValueError, match="Gloo"), ALONE.noticing_losses("here"):
        raise ValueError("Gloo all-reduce failed: Connection closed by peer")
    with pytest.raises(ValueError, match="shapes"), two.noticing_losses("here"):
        raise ValueError("shapes do not fit")
    with (
        pytest.raises(RuntimeError, match=r"another process .* is gone .*start all 2"),
        two.noticing_losses("here"),
    ):
        raise ValueError("Gloo all-reduce failed: Connection closed by peer")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(devices):
    flags = f"--xla_force_host_platform_device_count={devices}"
    return {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}


def started(out, steps, *options, devices=1):
    line = [sys.executable, "-m", "nas", "train", *RECIPE, "--out", str(out)]
    return subprocess.Popen(
        [*line, "--train.steps", str(steps), *options],
        env=environment(devices),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def pair(out, steps):
    address = f"127.0.0.1:{free_port()}"
    return [
        started(
            out,
            steps,
            *("--coordinator", address, "--processes", "2", "--process", str(index)),
        )
        for index in range(2)
    ]


def finished(process):
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


def assert_close(run, expected):
    ours, theirs = load_file(run.supernet), load_file(expected.supernet)
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        np.testing.assert_allclose(weight, theirs[name], atol=2e-4, err_msg=name)


@pytest.mark.long
def test_two_processes_train_what_one_does_and_outlive_a_loss(tmp_path):
    steps = 60
    alone = RunDirectory(tmp_path / "alone")
    finished(started(alone.path, steps, devices=1))
    both = RunDirectory(tmp_path / "both")
    first, second = pair(both.path, steps)
    said, other = finished(first), finished(second)
    assert "train: 60/60 steps" in said
    assert "train:" not in other
    assert_close(both, alone)

    lost = RunDirectory(tmp_path / "lost")
    survivor, victim = pair(lost.path, steps)
    while max(lost.checkpoint_steps(), default=0) < 10:
        assert survivor.poll() is None, survivor.communicate()
        time.sleep(0.05)
    victim.send_signal(signal.SIGKILL)
    told, _ = survivor.communicate(timeout=120)
    assert survivor.returncode == 1
    assert "another process of this training is gone" in told
    assert "start all 2 again with the same commands" in told
    victim.communicate()
    again = [finished(process) for process in pair(lost.path, steps)]
    assert "resuming training at step" in again[0]
    assert lost.supernet.read_bytes() == both.supernet.read_bytes()
