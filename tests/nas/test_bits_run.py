"""Whole runs of models whose layers choose their bits, by evolution and by gradient."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from nas.front import load_front
from nas.rundir import RunDirectory, read_json

TINY_BITS = Path(__file__).parent / "tiny_bits.py"

pytestmark = pytest.mark.slow


def nas(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "nas", *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("bits") / "run"
    printed = nas("run", TINY_BITS, "--out", out)
    assert "scales searched anew" in printed
    return RunDirectory(out)


def within(front, bits):
    found = [member.metrics["mean_bits"] for member in front]
    assert found
    assert max(found) <= bits


def test_shape_and_bits_are_searched_under_a_bound_and_exported_as_integers(run):
    front = load_front(run.front)
    within(front, 6)
    for member in front:
        folder = run.subnets / member.id
        checks = read_json(folder / "verification.json")
        assert all(check["verified"] for check in checks["files"].values())
        weights = load_file(folder / "model.safetensors")
        stored = sum(array.nbytes for array in weights.values())
        assert stored == pytest.approx(member.metrics["size_mb"] * 1e6, rel=0.02)
        assert any(array.dtype == np.uint8 for array in weights.values())
    archived = [json.loads(line) for line in run.archive.read_text().splitlines()]
    assert {"size_mb", "bops", "traffic_mb"} <= archived[0]["metrics"].keys()


@pytest.mark.long
def test_bits_are_searched_by_gradient_on_the_same_supernet(run):
    bound = "mean_bits <= 4"
    printed = nas("search", run.path, "--algorithm", "gradient", "--constraint", bound)
    assert "search by gradient of the loss: mean_bits <= 4" in printed
    within(load_front(run.front), 4)
