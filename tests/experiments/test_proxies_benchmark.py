"""The proxies benchmark, on a run that is made up of random weights and losses."""

import json
import sys

import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file

from experiments.benchmarks import proxies as benchmark
from nas import Decoder, Experiment, Search, StdlibText
from nas.errors import UsageError
from nas.rundir import RunDirectory
from search.archive import Archive, Record
from supernets.proxies import population
from supernets.weights import flat_weights, host_copy
from tests.kernels.comparison import quick_options

# Default runs leave out what only repeats the work of smaller tests.
pytestmark = pytest.mark.slow

SPEC = Decoder(width=(8, 16), heads=(1, 2), ffn=(8, 16), depth=(1, 2), head_dim=4)
EXPERIMENT = Experiment(
    model=SPEC,
    data=StdlibText(tokens=8),
    search=Search(examples=4),
    execution="masked",
)
COUNT = 40


def write_run(path, count=COUNT):
    """Writes a run whose loss falls with the number of parameters."""
    run = RunDirectory(path)
    run.claim(EXPERIMENT)
    space = SPEC.space()
    members = space.enumerate()[:count]
    costs = SPEC.costs(members, batch=1, example=(8,))
    records = [
        Record(
            tuple(genotype.tolist()),
            space.decode(genotype).to_json(),
            {
                "loss": 9.0 - float(np.log(costs["params"][row])),
                **{name: float(values[row]) for name, values in costs.items()},
            },
            "test",
            row,
            0.0,
        )
        for row, genotype in enumerate(members)
    ]
    Archive(run.archive).append(records)
    weights = host_copy(flat_weights(SPEC.build(rngs=nnx.Rngs(7))))
    save_file(weights, run.supernet)
    return run


def run_benchmark(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["proxies", "--seeds", "2", *arguments])
    benchmark.main()


def test_it_compares_proxies_with_what_a_run_evaluated(tmp_path, monkeypatch, capsys):
    run = write_run(tmp_path / "run")
    out = tmp_path / "out"
    monkeypatch.setattr(benchmark, "SIZES", (8, 16))
    monkeypatch.setattr(population, "QUICK_TO_COMPILE", quick_options())
    place = "--run", str(run.path), "--out", str(out)
    run_benchmark(monkeypatch, *place, "--count", "36")
    results = json.loads((out / "proxies.json").read_text())
    assert results["architectures"] == 36
    assert results["examples"] == 4
    assert results["costs"]["params"] == pytest.approx(1.0)
    for weights in ("initial", "trained"):
        taus = results["proxies"][weights]
        assert list(taus) == ["grad_norm", "synflow", "jacobian"]
        # More flows along more paths, and the loss is the number of parameters.
        assert taus["synflow"] > 0.3
        assert all(-1 <= tau <= 1 for tau in taus.values())
    assert results["proxies"]["initial"] != results["proxies"]["trained"]
    assert results["sizes"] == [8, 16]
    assert results["held_out"] == 20
    assert results["predictors"].keys() == {
        "Gaussian process",
        "Ridge",
        *(
            f"{name}, {weights} proxies"
            for name in ("Gaussian process", "Ridge", "Learnt sum")
            for weights in ("initial", "trained")
        ),
    }
    for taus in results["predictors"].values():
        assert np.shape(taus) == (2, 2)
    assert np.mean(results["predictors"]["Ridge"][-1]) > 0.5
    assert (out / "proxies.png").read_bytes().startswith(b"\x89PNG")
    rows = benchmark.readme_rows(results)
    assert rows == capsys.readouterr().out.splitlines()
    assert any("Ridge, initial proxies, from 16 | 0." in row for row in rows)


def test_a_run_that_cannot_be_used_says_so(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="is not a run directory"):
        run_benchmark(monkeypatch, "--run", str(tmp_path / "none"))
    few = write_run(tmp_path / "few", 8)
    with pytest.raises(UsageError, match="holds 8 architectures; at least 32"):
        run_benchmark(monkeypatch, "--run", str(few.path))
    few.supernet.unlink()
    with pytest.raises(UsageError, match="run `nas train` there first"):
        run_benchmark(monkeypatch, "--run", str(few.path))


@pytest.mark.parametrize(("option", "number"), [("--seeds", "0"), ("--count", "1")])
def test_numbers_that_make_no_sense_are_refused(option, number, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run_benchmark(monkeypatch, option, number)
    assert f"{option}: must be at least" in capsys.readouterr().err
