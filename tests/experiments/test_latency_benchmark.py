"""The latency benchmark, on one small supernet."""

import json
import sys

import numpy as np
import pytest

from experiments.benchmarks import latency as benchmark
from nas.profile import Measurement
from tests.nas.latency.test_table import EXPERIMENT

# Default runs leave out what only repeats the work of smaller tests.
pytestmark = pytest.mark.slow


def run(monkeypatch, *arguments):
    monkeypatch.setattr(benchmark, "EXPERIMENTS", {"Small": EXPERIMENT})
    monkeypatch.setattr(sys, "argv", ["latency", *arguments])
    benchmark.main()


def test_it_writes_errors_subnets_and_a_figure(tmp_path, monkeypatch, capsys):
    effort = ("--fit", "8", "--held-out", "2", "--rounds", "4")
    run(monkeypatch, *effort, "--out", str(tmp_path))
    results = json.loads((tmp_path / "latency.json").read_text())
    found = results["models"]["Small"]
    roles = [subnet["role"] for subnet in found["subnets"]]
    assert (roles.count("fit"), roles.count("held_out")) == (8, 2)
    held_out = [s for s in found["subnets"] if s["role"] == "held_out"]
    shares = [abs(s["predicted_ms"] / s["measured_ms"] - 1) for s in held_out]
    assert found["error"]["mape_percent"] == pytest.approx(
        100 * np.mean(shares), abs=0.1
    )
    assert (tmp_path / "latency.png").read_bytes().startswith(b"\x89PNG")
    (row,) = benchmark.readme_rows(results)
    assert row.startswith("| Small, 2 held-out subnets of ")
    assert row in capsys.readouterr().out


def test_too_little_effort_is_refused(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, "--fit", "3", "--held-out", "2", "--out", str(tmp_path))
    assert "latency.fit is 3" in capsys.readouterr().err


def test_a_space_that_was_measured_whole_has_nothing_to_predict(tmp_path, monkeypatch):
    effort = ("--fit", "40", "--held-out", "2", "--rounds", "3")
    with pytest.raises(ValueError, match="the space is too small"):
        run(monkeypatch, *effort, "--out", str(tmp_path))


def test_noise_is_how_far_two_halves_of_the_rounds_differ():
    def measured(*samples):
        return Measurement((0,), "fit", min(samples), samples)

    steady = measured(*[2.0] * 6)
    assert benchmark.noise_percent((steady,)) == 0.0
    drifting = measured(*[1.1, 1.0] * 3)
    assert benchmark.noise_percent((steady, drifting)) == pytest.approx(5.0)


def test_targets_are_limits_of_errors_and_floors_of_agreement():
    assert benchmark.reached("mape_percent", 4.9)
    assert not benchmark.reached("mape_percent", 5.1)
    assert benchmark.reached("kendall_tau", 0.96)
    assert not benchmark.reached("kendall_tau", 0.94)
