"""Compares search by gradient with others in equal time, on a trained run.

    uv run python -m experiments.benchmarks.gradient --run runs/quickstart

From each of ten seeds a search by gradient goes through all of its sets of bounds; then
every other algorithm searches for as many seconds as that took. All of them evaluate
subnets by the same function of the trained weights, in this process, and share nothing:
each search has an archive of its own. Programs are compiled before.

Told is the hypervolume over time, relative to that of the front of all that was found
by anyone, and the front that each algorithm found from the first seed. What the search
by gradient comes to with `refine=0` is told too: refinement follows the last step
within each set of bounds, so that it can be left out of what was measured. Give the
search of the run a bound on latency, as the quick start has, and keep the machine
quiet.

Writes `experiments/results/gradient.json` and `gradient.png`. It takes four times what
ten searches by gradient do: 14 minutes on one core.

On the quick start evolution wins, with a surrogate or without, and the gradient is
behind random search: a subnet is evaluated in a quarter of the time of a step, so that
others look at four to seven times as many. Without refinement it finds less still.
"""

import argparse
import dataclasses
import itertools
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from rich.console import Console
from safetensors.numpy import load_file

from experiments.benchmarks.arguments import positive
from experiments.benchmarks.gradient_figure import gradient_figure
from nas.evaluation import MakeEvaluate
from nas.experiment import Experiment
from nas.gradient.descent import Descent, planned_descents
from nas.gradient.searcher import GradientTask, Searcher
from nas.metrics import CheapMetrics, cheap_of, problem_of
from nas.provenance import provenance
from nas.report import drawing
from nas.rundir import RunDirectory, write_bytes, write_json
from nas.search_driver import reference_point
from search.algorithm import Algorithm
from search.archive import Archive
from search.campaign import run_campaign
from search.fidelity import WHOLE, columns
from search.nsga2 import Nsga2
from search.pareto import hypervolume, non_dominated
from search.problem import Metrics, Problem
from search.random_search import RandomSearch
from search.space import Genotypes
from search.stopping import Stop
from search.surrogate import SurrogateEvolution
from search.workers import CHUNK, Weights
from supernets.gradient_search.specs import GradientSearch

RESULTS = Path(__file__).parent.parent / "results"
COMMAND = "uv run python -m experiments.benchmarks.gradient --run runs/quickstart"

SEEDS, STEPS, BATCH, EVALUATIONS = 10, 50, 8, 320

DECODES = 10
"""Subnets that are decoded within each set of bounds."""

POINTS = 40
"""Of each curve over time."""

BAND = (25, 75)
"""Percentiles of the seeds between which a band lies."""

EVERYTHING = 1 << 30
"""Evaluations of a search that only time ends."""

GRADIENT, ALONE, BASELINE = "Gradient", "Gradient, refine=0", "Random search"

RIVALS: Mapping[str, Callable[[], Algorithm]] = {
    "NSGA-II": Nsga2,
    "Surrogate-assisted": SurrogateEvolution,
    BASELINE: RandomSearch,
}


@dataclasses.dataclass
class Trace:
    """One search as it goes.

    Attributes:
        archive: What it looked at, in order.
        seconds: When it had looked at more subnets, from its start.
        looked: How many it had looked at then.
    """

    archive: Archive = dataclasses.field(default_factory=Archive)
    seconds: list[float] = dataclasses.field(default_factory=list)
    looked: list[int] = dataclasses.field(default_factory=list)
    began: float = dataclasses.field(default_factory=time.monotonic)

    def note(self, spared: float = 0.0) -> None:
        """Notes that more subnets were looked at; some seconds may not count."""
        self.seconds.append(time.monotonic() - self.began - spared)
        self.looked.append(len(self.archive))

    def at(self, seconds: float) -> int:
        """Returns how many subnets were looked at by then."""
        done = int(np.searchsorted(self.seconds, seconds, side="right"))
        return self.looked[done - 1] if done else 0


def main() -> None:
    """Measures and records."""
    options = _options()
    run = RunDirectory(options.run)
    spec = GradientSearch(
        steps=options.steps,
        batch=options.batch,
        decode_every=max(1, options.steps // DECODES),
    )
    experiment = run.experiment()
    problem = problem_of(experiment, run)
    contest = Contest(
        experiment,
        problem,
        cheap_of(experiment, run),
        reference_point(problem, run),
        load_file(run.supernet),
        spec,
        options.evaluations,
    )
    traces = contest.traces(range(options.seeds))
    results = {"run": options.run.name, **contest.summary(traces)}
    write_json(options.results / "gradient.json", results)
    figure = gradient_figure(results)
    write_bytes(options.results / "gradient.png", drawing.to_png(figure))
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print(*readme_rows(results), sep="\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--run", type=Path, required=True, help="a trained run")
    for name, default, words in (
        ("seeds", SEEDS, "how many seeds"),
        ("steps", STEPS, "steps of each search by gradient"),
        ("batch", BATCH, "examples in each of them"),
        ("evaluations", EVALUATIONS, "subnets that it looks at, at most"),
    ):
        words = f"{words} (default: {default})"
        parser.add_argument(f"--{name}", type=positive, default=default, help=words)
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write")
    return parser.parse_args()


class Contest:
    """All searches of one trained supernet.

    Args:
        experiment: Of the run; who searches is not asked.
        problem: What is searched.
        cheap: Its cheap metrics.
        reference: Of the hypervolume.
        weights: Of the supernet.
        spec: The search by gradient.
        evaluations: Subnets that it looks at, at most.
    """

    def __init__(
        self,
        experiment: Experiment,
        problem: Problem,
        cheap: CheapMetrics,
        reference: Float[np.ndarray, " objectives"],
        weights: Weights,
        spec: GradientSearch,
        evaluations: int,
    ) -> None:
        self.problem, self.reference = problem, reference
        self.experiment, self.spec = with_gradient(experiment, spec, evaluations), spec
        self._score = MakeEvaluate(experiment)(weights)
        first = self._descents(0)[0]
        task = GradientTask.of(self.experiment, problem, cheap, spec, first)
        self._searcher = Searcher(task, Archive(), weights)
        # Compiles every program.
        self._score(problem.space.smallest[None], WHOLE)
        self._searcher.begin(first)
        self._searcher.advance()

    def _descents(self, seed: int) -> list[Descent]:
        search = dataclasses.replace(self.experiment.search, seed=seed)
        experiment = dataclasses.replace(self.experiment, search=search)
        return planned_descents(experiment, self.problem, self.spec)

    def traces(self, seeds: range) -> dict[str, list[Trace]]:
        """Returns how every search went, by the name of the algorithm."""
        names = (GRADIENT, ALONE, *RIVALS)
        found: dict[str, list[Trace]] = {name: [] for name in names}
        for seed in seeds:
            trace, alone = self.by_gradient(seed)
            found[GRADIENT].append(trace)
            found[ALONE].append(alone)
            for name, make in RIVALS.items():
                rival = self.by_asking(make(), seed, trace.seconds[-1])
                found[name].append(rival)
        return found

    def by_gradient(self, seed: int) -> tuple[Trace, Trace]:
        """Goes through all sets of bounds.

        Returns:
            How that went, and how it goes without what follows the last steps.
        """
        descents, trace, alone = self._descents(seed), Trace(), Trace()
        self._searcher.archive = trace.archive
        before = refining = 0.0
        for descent in descents:
            self._searcher.begin(descent)
            steps = 0
            while (told := self._searcher.advance()) is not None:
                trace.note()
                if steps == self.spec.steps:
                    refining += trace.seconds[-1] - before
                else:
                    new = [r for r in told.records if r not in alone.archive]
                    alone.archive.append(new)
                    alone.note(refining)
                before, steps = trace.seconds[-1], told.steps
        return trace, alone

    def by_asking(self, algorithm: Algorithm, seed: int, limit: float) -> Trace:
        """Searches for so many seconds."""
        trace = Trace()
        run_campaign(
            self.problem,
            algorithm,
            self._in_chunks,
            trace.archive,
            name="search",
            seed=seed,
            budget=Stop(evaluations=EVERYTHING, seconds=limit),
            reference=self.reference,
            on_generation=lambda _: trace.note(),
        )
        return trace

    def _in_chunks(self, genotypes: Genotypes) -> Iterator[tuple[int, Metrics]]:
        for start in range(0, len(genotypes), CHUNK):
            yield start, self._score(genotypes[start : start + CHUNK], WHOLE)

    def objectives(self, trace: Trace) -> Float[np.ndarray, "subnets objectives"]:
        """Returns what a search looked at; far behind the reference if not allowed."""
        metrics = columns(trace.archive.records)
        found = self.problem.objectives_of(metrics)
        return np.where(self.problem.violations(metrics)[:, None] > 0, np.inf, found)

    def summary(self, traces: Mapping[str, list[Trace]]) -> dict[str, Any]:
        """Returns all that was found.

        ``hypervolume_percent`` has a mean over seeds and a band at each of ``seconds``,
        and the last value of each seed.
        """
        points = {n: [self.objectives(t) for t in own] for n, own in traces.items()}
        every = np.concatenate([row for own in points.values() for row in own])
        whole = hypervolume(_finite(every), self.reference)
        ends = [trace.seconds[-1] for trace in traces[GRADIENT]]
        times = np.linspace(0, float(np.median(ends)), POINTS + 1)[1:]
        origin = provenance(command=COMMAND, seed=0, data_digest="")
        return {
            "command": COMMAND,
            "machine": {
                "processor": origin["processor"],
                "cores": os.cpu_count(),
                "python": platform.python_version(),
                "packages": origin["packages"],
            },
            "git": origin["git"],
            "objectives": list(self.problem.objectives),
            "seeds": len(ends),
            "steps": self.spec.steps,
            "seconds": times.round(3).tolist(),
            "algorithms": {
                name: self._told(own, points[name], times, whole)
                for name, own in traces.items()
            },
        }

    def _told(
        self,
        traces: list[Trace],
        points: list[Float[np.ndarray, "subnets objectives"]],
        times: Float[np.ndarray, " points"],
        whole: float,
    ) -> dict[str, Any]:
        volumes = np.asarray(
            [
                [
                    100 * self._volume(rows[: trace.at(at)]) / whole
                    for at in [*times.tolist(), np.inf]
                ]
                for trace, rows in zip(traces, points, strict=True)
            ]
        )
        curves = volumes[:, :-1]
        low, high = np.percentile(curves, BAND, axis=0)
        front = _finite(points[0])
        front = front[non_dominated(front)]
        return {
            "looked_at": [len(trace.archive) for trace in traces],
            "hypervolume_percent": {
                "mean": curves.mean(0).round(3).tolist(),
                "low": low.round(3).tolist(),
                "high": high.round(3).tolist(),
                "last": volumes[:, -1].round(3).tolist(),
            },
            "front": front[np.lexsort(front.T)].round(5).tolist(),
        }

    def _volume(self, rows: Float[np.ndarray, "subnets objectives"]) -> float:
        return hypervolume(_finite(rows), self.reference)


def _finite(
    rows: Float[np.ndarray, "subnets objectives"],
) -> Float[np.ndarray, "finite objectives"]:
    return rows[np.isfinite(rows).all(1)]


def with_gradient(
    experiment: Experiment, spec: GradientSearch, evaluations: int
) -> Experiment:
    """Returns an experiment that is searched by gradient alone, once."""
    search = dataclasses.replace(
        experiment.search,
        algorithm=spec,
        rivals=(),
        baseline=False,
        evaluations=evaluations,
        seeds=1,
        seconds=None,
    )
    return dataclasses.replace(experiment, search=search)


def ahead(results: Mapping[str, Any], of: str) -> int:
    """Returns with how many seeds the gradient ends with more hypervolume."""
    ends = [
        np.asarray(results["algorithms"][name]["hypervolume_percent"]["last"])
        for name in (GRADIENT, of)
    ]
    return int((ends[0] > ends[1]).sum())


def leaders(results: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Returns who has the most hypervolume, by the mean, and until which second."""
    found = results["algorithms"]
    means = np.asarray([a["hypervolume_percent"]["mean"] for a in found.values()])
    first = [list(found)[row] for row in means.argmax(0)]
    ends = np.flatnonzero([a != b for a, b in itertools.pairwise(first)] + [True])
    return [(first[end], results["seconds"][end]) for end in ends]


def readme_rows(results: Mapping[str, Any]) -> list[str]:
    """Returns the lines of the README's table of measured results."""
    seeds, found = results["seeds"], results["algorithms"]
    ends = {
        name: np.mean(a["hypervolume_percent"]["last"]) for name, a in found.items()
    }
    each = ", ".join(
        f"{name} {ends[name]:.1f}% ({np.mean(found[name]['looked_at']):.0f} subnets)"
        for name in sorted(ends, key=lambda name: -ends[name])
    )
    wins = ", ".join(f"{name} {ahead(results, name)}" for name in RIVALS)
    *earlier, (winner, _) = leaders(results)
    order = [f"{name} until {end:.0f} s" for name, end in earlier]
    return [
        f"| **Search by gradient** against others: `{COMMAND}` | "
        "[all figures](experiments/results/gradient.json), "
        "[picture](experiments/results/gradient.png) |",
        f"| Hypervolume on the quick start's supernet after equal time, "
        f"{results['seconds'][-1]:.0f} s, relative to the front of all that was found: "
        f"mean of {seeds} seeds | {each} |",
        f"| Seeds of {seeds} in which the gradient ends with more of it | {wins} |",
        f"| Most of it by the mean | {', '.join([*order, f'{winner} at the end'])} |",
    ]


if __name__ == "__main__":
    main()
