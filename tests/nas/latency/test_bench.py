"""`nas bench latency`: a file for a device, measured here or taken over."""

import dataclasses
import io

import numpy as np
import pytest
from rich.console import Console

from nas.errors import UsageError
from nas.experiment import Latency
from nas.latency import measuring
from nas.latency.bench import BenchOptions, bench_latency
from nas.latency.measuring import some_inputs
from nas.latency.sample import chosen
from nas.latency.table import read_table
from nas.profile import LatencyProfile
from tests.nas.latency.test_table import EXPERIMENT, MODEL, SPACE, linear, table_of

QUICK = dataclasses.replace(EXPERIMENT, latency=Latency(fit=8, held_out=4, rounds=3))
SHEET = "flops_per_s=1e12,bytes_per_s=5e10"


def bench(experiment=QUICK, **options):
    """Returns the profile and what was said, on one line."""
    text = io.StringIO()
    console = Console(file=text, width=200)
    profile = bench_latency(experiment, BenchOptions(**options), console)
    return profile, " ".join(text.getvalue().split())


class Extracted:
    """Stands for a network that nobody runs."""


@pytest.fixture
def _timed(monkeypatch):
    """Subnets take what the model says, and nothing is extracted or compiled."""

    def compile_all(networks, inputs, **_):
        assert inputs.shape == (1, 128)
        return networks

    def measure(networks, rounds, **_):
        assert all(isinstance(network, Extracted) for network in networks)
        return np.repeat(linear(chosen(QUICK)[0])[:, None], rounds, axis=1)

    monkeypatch.setattr(type(QUICK.model), "extract", lambda *_: Extracted())
    monkeypatch.setattr(measuring, "compile_all", compile_all)
    monkeypatch.setattr(measuring, "measure", measure)


@pytest.mark.usefixtures("_timed")
def test_a_device_is_measured_without_a_trained_supernet(tmp_path):
    out = tmp_path / "here.json"
    profile, said = bench(device="here", out=out)
    assert LatencyProfile.load(out) == profile
    assert (profile.device, profile.kind, profile.given) == ("here", "predicted", False)
    roles = [m.role for m in profile.measurements]
    assert (roles.count("fit"), roles.count("held_out")) == (8, 4)
    assert "latency on here: held-out error 0.0%, 100% within 10%, tau 1.00" in said
    assert "largest" in said
    assert str(out) in said


def test_an_imported_table_tells_its_error(tmp_path):
    members = SPACE.enumerate()[::2]
    path = table_of(tmp_path, members, linear(members).tolist())
    _, said = bench(csv=path, device="phone", out=tmp_path / "phone.json")
    assert "latency on phone: table of 20 subnets, held-out error 0.0%" in said


def test_a_short_table_tells_what_a_model_would_take(tmp_path):
    members = SPACE.enumerate()[:3]
    path = table_of(tmp_path, members, [1.0, 2.0, 3.0])
    _, said = bench(csv=path, device="phone", out=tmp_path / "phone.json")
    assert "table of 3 subnets, which alone have a latency" in said
    assert "the table has 3 of 40 subnets; 10 or more that differ in everything" in said


def test_a_sheet_says_that_nothing_was_measured(tmp_path):
    profile, said = bench(roofline=SHEET, device="edge", out=tmp_path / "edge.json")
    assert profile.kind == "roofline"
    assert "latency on edge: roofline, not measured: its error is not known" in said


def test_the_file_is_named_by_the_device_and_never_written_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bench(roofline=SHEET, device="Edge TPU (v2)")
    assert (tmp_path / "edge-tpu-v2.json").exists()
    with pytest.raises(UsageError, match=r"--out: edge-tpu-v2\.json exists; remove it"):
        bench(roofline=SHEET, device="Edge TPU (v2)")


def test_a_template_has_enough_subnets_for_a_model(tmp_path):
    path = tmp_path / "phone.csv"
    profile, said = bench(template=path)
    assert profile is None
    assert "12 subnets; fill in latency_ms, then import it with --csv" in said
    head, *lines = path.read_text().splitlines()
    path.write_text(
        "\n".join([head, *(f"{line}{i + 1}" for i, line in enumerate(lines))])
    )
    assert len(read_table(path, SPACE)) == 12
    with pytest.raises(UsageError, match=r"--template: .*phone\.csv exists"):
        bench(template=path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"csv": "a", "roofline": "b"}, "--csv and --roofline are different things"),
        ({"csv": "a"}, "--csv is of another device; name it with --device"),
        ({"roofline": "a"}, "--roofline is of another device; name it"),
    ],
)
def test_options_that_contradict_are_refused(options, message, tmp_path):
    fields = {n: tmp_path if n == "csv" else value for n, value in options.items()}
    with pytest.raises(ValueError, match=message):
        BenchOptions(**fields)


def test_the_sample_spreads_over_all_sizes_and_fits_the_extremes():
    genotypes, roles = chosen(QUICK)
    assert len(np.unique(genotypes, axis=0)) == len(genotypes) == 12
    macs = MODEL.costs(genotypes, batch=1, example=(128,))["macs"]
    assert (np.diff(macs) >= 0).all()
    ends = MODEL.costs(
        np.stack([SPACE.smallest, SPACE.largest]), batch=1, example=(128,)
    )["macs"]
    assert macs[[0, -1]].tolist() == ends.tolist()
    assert roles[0] == roles[-1] == "fit"
    assert roles.count("held_out") == 4
    again, _ = chosen(QUICK)
    assert (again == genotypes).all()


def test_a_space_no_larger_than_the_sample_is_measured_whole():
    latency = Latency(fit=36, held_out=4, rounds=3)
    genotypes, roles = chosen(dataclasses.replace(QUICK, latency=latency))
    assert len(genotypes) == 40
    assert set(roles) == {"member"}


def test_inputs_are_of_the_datas_shape_without_the_data():
    tokens = some_inputs(QUICK.data, 3)
    assert tokens.shape == (3, 128)
    assert tokens.dtype == QUICK.data.dtype
    assert tokens.min() >= 0
    assert tokens.max() < QUICK.data.classes
