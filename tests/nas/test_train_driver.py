"""Ray Train starts the processes of a training, and starts them again when one dies."""

import os
import signal
import time
from pathlib import Path

import pytest

from nas.rundir import RunDirectory
from tests.nas.test_hosts import assert_close, finished, started


def workers_of_ray():
    """Returns the numbers of all processes that train for Ray."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes()
        # It may have ended in the meantime.
        except OSError:
            continue
        if line.startswith(b"ray::RayTrainWorker"):
            found.append(int(folder.name))
    return found


@pytest.mark.long
def test_a_worker_that_dies_is_replaced_and_training_goes_on(tmp_path):
    steps = 200
    alone = RunDirectory(tmp_path / "alone")
    finished(started(alone.path, steps))
    run = RunDirectory(tmp_path / "run")
    others = workers_of_ray()
    process = started(run.path, steps, "--ray-workers", "2")
    while max(run.checkpoint_steps(), default=0) < 10:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    ours = [number for number in workers_of_ray() if number not in others]
    assert len(ours) == 2
    os.kill(ours[0], signal.SIGKILL)
    said = finished(process)
    assert "resuming training at step" in said
    assert_close(run, alone)
