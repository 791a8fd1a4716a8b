"""The trained supernet of a run, loaded back."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from nas.errors import RunError, UsageError
from nas.experiment import Experiment
from nas.rundir import RunDirectory
from nas.supernet import load_supernet
from supernets.decoder.spec import Decoder

MODEL = Decoder(width=(8, 16), heads=(1, 2), ffn=(8, 16), depth=(1, 2), head_dim=4)


@pytest.fixture
def run(tmp_path):
    run = RunDirectory(tmp_path)
    run.claim(Experiment(model=MODEL))
    return run


def test_a_run_that_was_not_trained_is_told_so(run):
    with pytest.raises(UsageError, match="no trained supernet yet: run `nas train`"):
        load_supernet(run)


def test_weights_that_are_torn_or_of_another_network_are_told(run):
    message = r"supernet\.safetensors is damaged \(.*train again in a new --out"
    save_file({"norm.scale": np.ones(3, np.float32)}, run.supernet)
    with pytest.raises(RunError, match=message):
        load_supernet(run)
    run.supernet.write_bytes(run.supernet.read_bytes()[:-3])
    with pytest.raises(RunError, match=message):
        load_supernet(run)
