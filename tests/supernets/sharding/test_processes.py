"""Processes that train together do what one does with all of their devices."""

import json
import socket
import subprocess
import sys

import pytest

from tests.kernels.comparison import assert_close


def train(count):
    """Starts processes with four devices in all; returns what each tells."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.supernets.sharding.one_process"]
    started = [
        subprocess.Popen(
            [*command, str(rank), str(count), str(port)], stdout=subprocess.PIPE
        )
        for rank in range(count)
    ]
    try:
        outputs = [process.communicate(timeout=240)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    return [json.loads(output.splitlines()[-1]) for output in outputs]


@pytest.mark.slow
def test_two_processes_train_as_one_does():
    (one,), (first, second) = train(1), train(2)
    assert one.pop("examples") == [0, 4]
    assert first.pop("examples") == [0, 2]
    assert second.pop("examples") == [2, 4]
    assert_close([first, second], [one, one])
