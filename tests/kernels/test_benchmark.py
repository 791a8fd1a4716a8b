"""The benchmark of single operations, at sizes that take no time."""

import json

import jax
import pytest

from kernels import benchmark
from kernels.benchmark import (
    EXECUTIONS,
    FIXED,
    Row,
    measure,
    operations,
    refusal,
    table,
)

SUBJECTS = {
    subject.name: subject
    for subject in operations(128, rows=16, tokens=8, dtype="float32")
}


def row(**changed):
    fields = {
        "operation": "matmul",
        "rows": 8,
        "full": (64, 128),
        "active": (32, 64),
        "dtype": "float32",
        "direction": "forward",
        "milliseconds": {FIXED: 1.25, "masked": 2.5, "switched": 1.3},
        "ratio": {"masked": 2.0, "switched": 1.04},
        "compile_seconds": {FIXED: 0.1, "masked": 0.1, "switched": 0.2},
        "refused": {"pallas": "no compiler"},
    }
    return Row(**(fields | changed))


@pytest.mark.parametrize("name", SUBJECTS)
def test_subjects_have_a_smallest_a_middle_and_a_largest_size(name):
    subject = SUBJECTS[name]
    sizes = [subject.sizes(picked) for picked in subject.picks.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="about CPUs")
@pytest.mark.parametrize("name", SUBJECTS)
def test_on_a_cpu_pallas_alone_is_refused_and_says_why(name):
    refused = {n: refusal(SUBJECTS[name], n) for n in EXECUTIONS}
    assert "no compiler for the CPU" in refused.pop("pallas")
    assert set(refused.values()) == {None}


@pytest.mark.slow
def test_rows_have_a_time_for_every_way_that_runs():
    rows = measure([SUBJECTS["FFN"]], rounds=1)
    assert [r.direction for r in rows] == ["forward"] * 3 + ["training"] * 3
    for found in rows:
        able = [n for n in EXECUTIONS if n not in found.refused]
        assert {"masked", "switched"} <= set(able)
        assert list(found.ratio) == able
        assert found.milliseconds.keys() == found.compile_seconds.keys()
        assert found.milliseconds.keys() == {FIXED, *able}
    assert [r.active for r in rows[:3]] == [(128, 512), (128, 256), (128, 128)]


def test_the_table_has_a_line_for_each_row_and_says_once_why_there_is_none():
    text = table([row(), row(direction="training")])
    head, first, second, reason, end = text.split("\n")
    assert head.split() == [
        *("operation", "type", "pass", "full", "active", "Fixed", "ms"),
        *EXECUTIONS,
    ]
    assert first.split()[-4:] == ["1.250", "2.00x", "1.04x", "-"]
    assert second.split()[2] == "training"
    assert len(head) == len(first) == len(second)
    assert (reason, end) == ("no compiler", "")


def test_the_command_prints_the_table_and_writes_json(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(benchmark, "subjects", list)
    monkeypatch.setattr(benchmark, "measure", lambda _, rounds: [row(rows=rounds)])
    out = tmp_path / "operations.json"
    benchmark.main(["--rounds", "7", "--out", str(out)])
    assert capsys.readouterr().out == table([row()])
    written = json.loads(out.read_text())
    assert written["machine"].keys() == {"platform", "backend", "devices", "jax"}
    assert written["rounds"] == written["rows"][0]["rows"] == 7
    assert written["rows"][0]["ratio"] == {"masked": 2.0, "switched": 1.04}


def test_no_rounds_are_refused(capsys):
    with pytest.raises(SystemExit):
        benchmark.main(["--rounds", "0"])
    assert "--rounds must be at least 1" in capsys.readouterr().err
