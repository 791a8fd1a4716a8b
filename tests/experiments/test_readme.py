"""The README: its figures are the measured ones, its code runs, its files exist."""

import json
import re
from pathlib import Path

import pytest

import nas
from experiments.benchmarks import (
    against_pytorch,
    execution,
    fidelity,
    gradient,
    gradient_step,
    latency,
    policies,
    precision,
    proxies,
    quickstart,
    search,
    search_overhead,
)
from experiments.benchmarks.quickstart import RESULTS

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    "benchmark",
    [
        quickstart,
        policies,
        precision,
        latency,
        search_overhead,
        search,
        fidelity,
        proxies,
        gradient_step,
        gradient,
        execution,
        against_pytorch,
    ],
)
def test_measured_figures_are_those_of_the_committed_results(benchmark):
    name = benchmark.__name__.rpartition(".")[2]
    results = json.loads((RESULTS / f"{name}.json").read_text())
    for row in benchmark.readme_rows(results):
        assert row in README


def test_committed_results_reach_what_the_quick_start_promises():
    results = json.loads((RESULTS / "quickstart.json").read_text())
    assert results["seconds"] < 180
    assert len(results["front"]) >= 6


def test_python_example_builds_its_experiment_with_public_names():
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    before_running, _, after = block.partition("result = nas.run(")
    names = {}
    exec(before_running, names)
    assert isinstance(names["experiment"], nas.Experiment)
    assert after
    assert len(block.splitlines()) <= 17


def test_linked_files_exist():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target).exists(), target
