"""Compares search algorithms at equal evaluations, on a problem with a known front.

    uv run python -m experiments.benchmarks.search

Every algorithm searches the stand-in of `experiments.benchmarks.search_problem`, whose
space is that of the quick start, under a bound on latency, with its own defaults and
twenty seeds; NSGA-II of pymoo does so too. The true front is known, since every member
is in a table. Told is also after how many subnets each has the hypervolume that NSGA-II
ends with.

Writes `experiments/results/search.json` and `search.png`, in a minute and a half on one
core, most of it for the surrogate.
"""

import argparse
import dataclasses
import math
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from rich.console import Console

from experiments.benchmarks.arguments import positive
from experiments.benchmarks.search_figure import search_figure
from experiments.benchmarks.search_peer import PymooNsga2
from experiments.benchmarks.search_problem import TabularProblem
from nas.provenance import provenance
from nas.report import drawing
from nas.rundir import write_bytes, write_json
from search.algorithm import Algorithm
from search.archive import Archive
from search.campaign import run_campaign
from search.constrained_genetic import ConstrainedGenetic
from search.local_search import LocalSearch
from search.mix_and_match import MixAndMatch
from search.nsga2 import Nsga2
from search.random_search import RandomSearch
from search.regularized_evolution import RegularizedEvolution
from search.surrogate import SurrogateEvolution

RESULTS = Path(__file__).parent.parent / "results"
COMMAND = "uv run python -m experiments.benchmarks.search"

Curve = Float[np.ndarray, " evaluations"]

EVALUATIONS = 256
SEEDS = 20

EVERY = 8
"""Evaluations between two points of a curve."""

BAND = (25, 75)
"""Percentiles of the seeds between which a band lies."""

BASELINE, STANDARD = "Random search", "NSGA-II"
"""The first is to be beaten; what the second ends with is to be had sooner."""

CONTENDERS: Mapping[str, Callable[[], Algorithm]] = {
    BASELINE: RandomSearch,
    "Mix'n'Match": MixAndMatch,
    "Constrained genetic": ConstrainedGenetic,
    "Local search": LocalSearch,
    "Regularized evolution": RegularizedEvolution,
    STANDARD: Nsga2,
    "Surrogate-assisted": SurrogateEvolution,
    "NSGA-II of pymoo": lambda: PymooNsga2(Nsga2().population),
}
"""By name; one that keeps a state of its own is made anew for every seed."""


def main() -> None:
    """Measures and records."""
    options = _options()
    results = summary(TabularProblem(), options.evaluations, options.seeds)
    write_json(options.results / "search.json", results)
    figure = search_figure(results)
    write_bytes(options.results / "search.png", drawing.to_png(figure))
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print(*readme_rows(results), sep="\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    counts = {
        "--evaluations": (EVALUATIONS, "subnets that every search evaluates"),
        "--seeds": (SEEDS, "how many seeds"),
    }
    for flag, (default, words) in counts.items():
        parser.add_argument(
            flag, type=positive, default=default, help=f"{words} (default: {default})"
        )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="where JSON and figure go"
    )
    return parser.parse_args()


def summary(table: TabularProblem, evaluations: int, seeds: int) -> dict[str, Any]:
    """Returns all that was found.

    ``hypervolume_percent`` is that of the true front, ``excess_percent`` how far the
    lowest loss is above the lowest within the limit. Both have a mean over seeds and a
    band for each entry of ``evaluations``, and the last value of each seed.
    ``evaluations_to_target`` is after how many subnets each seed has the hypervolume
    ``target_percent``, the mean that NSGA-II ends with, and None where it never has.
    """
    origin = provenance(command=COMMAND, seed=0, data_digest="")
    points = sorted({*range(EVERY, evaluations, EVERY), evaluations})
    traces = {
        name: _traces(table, make, evaluations, seeds)
        for name, make in CONTENDERS.items()
    }
    target = float(np.mean([trace[-1] for trace in traces[STANDARD].shares]))
    return {
        "command": COMMAND,
        "machine": {
            "processor": origin["processor"],
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "packages": origin["packages"],
        },
        "git": origin["git"],
        "members": len(table.members),
        "members_within_limit": len(table.objectives),
        "front": len(table.front),
        "limit_ms": round(table.limit, 4),
        "seeds": seeds,
        "evaluations": points,
        "target_percent": round(target, 3),
        "algorithms": {
            name: _told(trace, points, target) for name, trace in traces.items()
        },
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Traces:
    """How the searches of one algorithm went, one for each seed.

    Attributes:
        algorithm: What is compared.
        seconds: Of a search.
        shares: Percent of the true front's hypervolume, after each subnet.
        excesses: Percent by which the lowest loss is above the best, likewise.
    """

    algorithm: str
    seconds: float
    shares: list[Curve]
    excesses: list[Curve]


def _traces(
    table: TabularProblem, make: Callable[[], Algorithm], evaluations: int, seeds: int
) -> _Traces:
    began = time.perf_counter()
    runs = [_search(table, make(), evaluations, seed) for seed in range(seeds)]
    seconds = time.perf_counter() - began
    lowest = table.objectives[:, 0].min()
    ends = [range(1, len(run) + 1) for run in runs]
    return _Traces(
        algorithm=repr(make()) if not isinstance(make(), PymooNsga2) else "pymoo",
        seconds=round(seconds / seeds, 3),
        shares=[
            np.asarray([100 * table.share(run[:end]) for end in each])
            for run, each in zip(runs, ends, strict=True)
        ],
        excesses=[
            100 * (np.minimum.accumulate(run[:, 0]) / lowest - 1) for run in runs
        ],
    )


def _told(traces: _Traces, points: list[int], target: float) -> dict[str, Any]:
    return {
        "algorithm": traces.algorithm,
        "seconds_per_search": traces.seconds,
        "evaluated": min(len(shares) for shares in traces.shares),
        "evaluations_to_target": [reached(shares, target) for shares in traces.shares],
        "hypervolume_percent": _over_seeds(traces.shares, points),
        "excess_percent": _over_seeds(traces.excesses, points),
    }


def reached(curve: Curve, target: float) -> int | None:
    """Returns after how many subnets a curve is as high as the target, if ever."""
    high = curve >= target
    return int(high.argmax()) + 1 if high.any() else None


def _over_seeds(traces: list[Curve], points: list[int]) -> dict[str, list[float]]:
    # One that finds nothing new before the end stays where it is.
    curves = np.asarray([[t[min(p, len(t)) - 1] for p in points] for t in traces])
    low, high = np.percentile(curves, BAND, axis=0)
    found = {"mean": curves.mean(0), "low": low, "high": high, "last": curves[:, -1]}
    return {name: values.round(3).tolist() for name, values in found.items()}


def _search(
    table: TabularProblem, algorithm: Algorithm, evaluations: int, seed: int
) -> Float[np.ndarray, "evaluations objectives"]:
    """Returns loss and latency of what a search evaluated, in order."""
    archive = Archive()
    run_campaign(
        table.problem,
        algorithm,
        table.evaluate,
        archive,
        name="search",
        seed=seed,
        budget=evaluations,
        reference=table.reference,
    )
    metrics = [record.metrics for record in archive.records]
    return np.asarray([[m[name] for name in table.problem.objectives] for m in metrics])


def ahead(results: Mapping[str, Any], name: str, of: str) -> int:
    """Returns with how many seeds one algorithm ends with more hypervolume."""
    ends = [
        np.asarray(results["algorithms"][who]["hypervolume_percent"]["last"])
        for who in (name, of)
    ]
    return int((ends[0] > ends[1]).sum())


def until(results: Mapping[str, Any], name: str) -> int | None:
    """Returns after how many subnets the median seed has what NSGA-II ends with."""
    counts = results["algorithms"][name]["evaluations_to_target"]
    # A seed that never has it is later than all others.
    middle = sorted(counts, key=lambda count: count or math.inf)[len(counts) // 2]
    return None if middle is None else int(middle)


def within(results: Mapping[str, Any], name: str, most: int) -> int:
    """Returns how many seeds have what NSGA-II ends with after so many subnets."""
    counts = results["algorithms"][name]["evaluations_to_target"]
    return sum(count is not None and count <= most for count in counts)


def readme_rows(results: Mapping[str, Any]) -> list[str]:
    """Returns the lines of the README's table of measured results."""
    seeds = results["seeds"]
    ends = {
        name: np.asarray(found["hypervolume_percent"]["last"])
        for name, found in results["algorithms"].items()
    }
    order = sorted(ends, key=lambda name: -ends[name].mean())
    each = ", ".join(f"{name} {ends[name].mean():.1f}%" for name in order)
    error = max(values.std() for values in ends.values()) / seeds**0.5
    wins = ", ".join(
        f"{name} {ahead(results, name, BASELINE)}" for name in order if name != BASELINE
    )
    spent, members = results["evaluations"][-1], results["members_within_limit"]
    typical = {name: until(results, name) for name in order}
    soon = ", ".join(
        f"{name} {count} (within {spent // 2} in {within(results, name, spent // 2)})"
        for name, count in typical.items()
        if count is not None
    )
    return [
        f"| **Search algorithms** on a stand-in for the quick start: `{COMMAND}` | "
        "[all figures](experiments/results/search.json), "
        "[picture](experiments/results/search.png) |",
        f"| Hypervolume after {spent} of {members:,} subnets, relative to the true "
        f"front's: mean of {seeds} seeds, standard error below {_up(error)} | {each} |",
        f"| Seeds of {seeds} with more hypervolume than random search | {wins} |",
        f"| Subnets until the hypervolume that {STANDARD} ends with, "
        f"{results['target_percent']:.1f}%: median of {seeds} seeds, where it gets "
        f"there | {soon} |",
    ]


def _up(percent: float) -> str:
    return f"{math.ceil(10 * percent) / 10:.1f}%"


if __name__ == "__main__":
    main()
