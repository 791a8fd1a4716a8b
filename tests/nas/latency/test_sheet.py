"""Sheets of devices that are not here."""

import pytest

from nas.errors import UsageError
from nas.latency.sheet import read_sheet, sheet_profile
from nas.rundir import write_json
from supernets.roofline import Roofline
from tests.nas.latency.test_table import EXPERIMENT, MODEL, SPACE

WRITTEN = "flops_per_s=1e12, bytes_per_s=5e10,overhead_ms = 0.1"
SHEET = Roofline(flops_per_s=1e12, bytes_per_s=5e10, overhead_ms=0.1)


def test_a_sheet_is_written_out_or_a_file_of_the_same_fields(tmp_path):
    assert read_sheet(WRITTEN) == SHEET
    fields = {"flops_per_s": 1e12, "bytes_per_s": 5e10, "overhead_ms": 0.1}
    write_json(tmp_path / "edge.json", fields)
    assert read_sheet(str(tmp_path / "edge.json")) == SHEET


@pytest.mark.parametrize(
    ("sheet", "message"),
    [
        ("", r"--roofline: .* give a JSON file, or the fields themselves"),
        ("flops_per_s=1e12", "lacks bytes_per_s; write for example 'flops_per_s="),
        ("flops_per_s=1,bytes_per_s", "'bytes_per_s' is not NAME=NUMBER"),
        ("flops_per_s=1,bytes_per_s=many", "could not convert string to float: 'many'"),
        ("flops_per_s=1,bytes_per_s=0", "bytes_per_s must be positive"),
        ("flops_per_s=1,flops_per_s=1", "gives flops_per_s twice"),
        ("flop_per_s=1,bytes_per_s=1", "no field 'flop_per_s'; did you mean flops_per"),
        ("absent.json", "absent.json is missing; give a JSON file"),
    ],
)
def test_what_is_no_sheet_is_refused(sheet, message):
    with pytest.raises(UsageError, match=message):
        read_sheet(sheet)


def test_the_profile_of_a_sheet_prices_all_and_states_no_error():
    profile = sheet_profile(EXPERIMENT, WRITTEN, device="edge")
    assert (profile.kind, profile.error, profile.measurements) == ("roofline", None, ())
    assert profile.in_words() == "roofline, not measured: its error is not known"
    genotypes = SPACE.enumerate()
    cost = MODEL.cost(genotypes, batch=2, example=(128,))
    assert (profile.predict(genotypes, MODEL) == SHEET.predict(cost)).all()
