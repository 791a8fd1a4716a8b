"""The benchmark of what a search spends beside evaluating: it measures all three."""

import json
import sys

import pytest

from experiments.benchmarks import search_overhead as benchmark

RESULTS = {
    "machine": {"cores": 2},
    "throughput": {"share": 0.954, "ray_per_second": 30.4, "alone_per_second": 31.6},
    "overhead": {"ray_ms": 0.123, "archive_ms": 0.456},
    "search": {"subnets": 1000, "seconds": 61.7},
}


def test_rows_say_what_was_found():
    assert benchmark.readme_rows(RESULTS) == [
        "| Evaluating through Ray | 95% of a process alone (30 against 32 subnets per "
        "second) |",
        "| Ray's share of a subnet | 0.12 ms, and 0.46 ms until it is on disk |",
        "| Searching 1,000 subnets of the quick start | 62 s on 2 cores |",
    ]


@pytest.mark.long
def test_a_small_benchmark_measures_everything(tmp_path, monkeypatch, capsys):
    line = ["search_overhead", "--small", "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", line)
    benchmark.main()
    found = json.loads((tmp_path / "search_overhead.json").read_text())
    sides = found["throughput"]
    assert sides["share"] > 0
    assert sides["alone_per_second"] > 0
    assert sides["quartiles"][0] <= sides["quartiles"][1]
    assert found["overhead"]["ray_ms"] > 0
    assert found["overhead"]["archive_ms"] > 0
    assert found["search"]["subnets"] == 40
    printed = capsys.readouterr().out
    for row in benchmark.readme_rows(found):
        assert row in printed
