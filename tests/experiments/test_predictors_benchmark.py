"""The predictors benchmark, on a stand-in and on an archive that is made up."""

import json
import sys

import numpy as np
import pytest

from experiments.benchmarks import predictors as benchmark
from experiments.quickstart import experiment
from nas.errors import UsageError
from nas.rundir import RunDirectory
from search.archive import Archive, Record
from search.predictors import Combination, Ridge


def run(monkeypatch, *arguments):
    predictors = {"Ridge": Ridge(), "Combination": Combination()}
    monkeypatch.setattr(benchmark, "PREDICTORS", predictors)
    monkeypatch.setattr(benchmark, "SIZES", (16, 32))
    monkeypatch.setattr(benchmark, "HELD_OUT", 64)
    monkeypatch.setattr(sys, "argv", ["predictors", "--seeds", "2", *arguments])
    benchmark.main()


def write_archive(path, count):
    """Writes a run directory whose loss falls with the number of parameters."""
    RunDirectory(path).claim(experiment)
    space = experiment.model.space()
    genotypes = space.sample(4 * count, np.random.default_rng(0))
    records = [
        Record(
            tuple(genotype.tolist()),
            space.decode(genotype).to_json(),
            {"loss": 3.0 - 0.01 * float(genotype.sum()), "params": 1.0 + i},
            "test",
            i,
            0.0,
        )
        for i, genotype in enumerate(np.unique(genotypes, axis=0)[:count])
    ]
    Archive(path / "archive.jsonl").append(records)
    return path / "archive.jsonl"


def test_it_writes_scores_and_a_figure(tmp_path, monkeypatch, capsys):
    archive = write_archive(tmp_path / "run", 60)
    out = tmp_path / "out"
    run(monkeypatch, "--archive", str(archive), "--out", str(out))
    results = json.loads((out / "predictors.json").read_text())
    found = results["tables"]["archive"]
    assert found["architectures"] == 60
    assert found["held_out"] == 30
    assert found["sizes"] == [16]
    taus = found["predictors"]["Ridge"]["kendall_tau"]
    assert np.shape(taus) == (1, 2)
    assert np.mean(taus) > 0.5
    assert results["tables"]["stand-in"]["sizes"] == [16, 32]
    assert (out / "predictors.png").read_bytes().startswith(b"\x89PNG")
    assert "| Ridge | 0." in capsys.readouterr().out


def test_an_archive_that_cannot_be_used_says_so(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="does not exist"):
        run(monkeypatch, "--archive", str(tmp_path / "none.jsonl"))
    archive = write_archive(tmp_path / "run", 8)
    with pytest.raises(UsageError, match="holds 8 architectures; at least 32"):
        run(monkeypatch, "--archive", str(archive))
