"""Measures what a search spends beside evaluating subnets.

    uv run python -m experiments.benchmarks.search_overhead

Three things, on the quick start's space with a supernet that is hardly trained, since
weights do not matter to time. First, subnets per second that a process evaluates alone,
and through an evaluator of Ray; both take turns, on the same subnets. Second, what Ray
and the archive add to a subnet whose evaluation takes no time. Third, how long the
search stage takes for a thousand subnets. `--small` measures less of everything.
Writes `experiments/results/search_overhead.json`. Nothing else should be running.
"""

import argparse
import contextlib
import dataclasses
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import ray
from rich.console import Console
from safetensors.numpy import load_file

from nas.evaluation import MakeEvaluate
from nas.evaluators import evaluators
from nas.ray_session import cluster_resources, ray_session
from nas.rundir import RunDirectory, read_json, write_json
from search.archive import Record
from search.fidelity import WHOLE, Part
from search.problem import Metrics
from search.space import Genotypes, Space
from search.workers import (
    CHUNK,
    ArchiveKeeper,
    EvaluateBatch,
    EvaluatorPool,
    RemoteArchive,
    Weights,
    Workers,
)

Make = Callable[[Weights], EvaluateBatch]

RESULTS = Path(__file__).parent.parent / "results"

COMMAND = "uv run python -m experiments.benchmarks.search_overhead"

RECIPE = "experiments.quickstart"
BATCH = 64

LITTLE = (
    *("--train.steps", "2", "--train.validate-every", "2"),
    "--search.no-baseline",
)
"""Options of a run whose weights do not matter."""

SMALL = (
    *("--model.width", "16", "32", "--model.heads", "1", "2"),
    *("--model.ffn", "16", "32", "64", "--model.depth", "1", "2"),
    *("--model.head-dim", "16", "--latency.rounds", "3"),
    # Not on latency, which so few rounds tell badly: too few subnets might satisfy it.
    *("--search.constraints", "params <= 100%"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is measured.

    Attributes:
        rounds: Turns of the two sides, of `BATCH` subnets each.
        trivial: Batches of subnets whose evaluation takes no time.
        evaluations: Subnets of the whole search.
        options: Of the run.
    """

    rounds: int = 20
    trivial: int = 50
    evaluations: int = 1000
    options: tuple[str, ...] = ()


def main() -> None:
    """Measures and records."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="measure little")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where it goes")
    options = parser.parse_args()
    effort = Effort()
    if options.small:
        effort = Effort(rounds=2, trivial=3, evaluations=40, options=SMALL)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), effort)
    write_json(options.results / "search_overhead.json", found)
    Console().print(*readme_rows(found), sep="\n", highlight=False, soft_wrap=True)


def measure(folder: Path, effort: Effort) -> dict[str, Any]:
    """Returns what was found.

    Args:
        folder: Where the run is made.
        effort: How much is measured.
    """
    run = RunDirectory(folder / "run")
    asked = ("--search.evaluations", str(effort.evaluations))
    for stage in ("train", "bench"):
        _nas(stage, RECIPE, "--out", str(run.path), *LITTLE, *asked, *effort.options)
    experiment, weights = run.experiment(), load_file(run.supernet)
    space, cores = experiment.model.space(), os.cpu_count() or 1
    with ray_session(None, cpus=cores + 1):
        workers = evaluators(
            1,
            cores=cores,
            resources=cluster_resources(),
            variables=os.environ,
            cache=folder / "compiled",
        )
        sides = throughput(
            MakeEvaluate(experiment), weights, workers, space, effort.rounds
        )
        added = overhead(space, folder / "archive.jsonl", effort.trivial)
    _nas("search", str(run.path))
    origin = read_json(run.provenance)
    return {
        "command": COMMAND,
        "machine": {
            "processor": origin["processor"],
            "cores": cores,
            "packages": origin["packages"],
        },
        "batch": BATCH,
        "throughput": sides,
        "overhead": added,
        "search": {
            "subnets": len(run.archive.read_bytes().splitlines()),
            "seconds": run.finished()["search"],
        },
    }


def _nas(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "nas", *arguments], check=True)


def throughput(
    make: Make, weights: Weights, workers: Workers, space: Space, rounds: int
) -> dict[str, Any]:
    """Returns subnets per second of a process alone and of an evaluator of Ray.

    Args:
        make: Makes the function that evaluates.
        weights: Given to it.
        workers: One evaluator; the process alone has the same environment.
        space: Whose subnets they are.
        rounds: Turns that are timed, after one that compiles.
    """
    rng = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {"alone": [], "ray": []}
    with alone(make, weights, workers) as evaluate_alone:
        pool = EvaluatorPool(workers, make, ray.put(weights))
        sides = {"alone": evaluate_alone, "ray": _timed(pool)}
        for turn in range(rounds + 1):
            genotypes = space.sample(BATCH, rng)
            # Whoever is first finds other caches than who is second.
            for side in sorted(sides, reverse=bool(turn % 2)):
                passed = sides[side](genotypes)
                if turn > 0:
                    seconds[side].append(passed)
        pool.close()
    medians = {side: float(np.median(taken)) for side, taken in seconds.items()}
    shares = np.asarray(seconds["alone"]) / np.asarray(seconds["ray"])
    return {
        "rounds": rounds,
        "alone_per_second": round(BATCH / medians["alone"], 2),
        "ray_per_second": round(BATCH / medians["ray"], 2),
        "share": round(float(np.median(shares)), 4),
        "quartiles": np.percentile(shares, (25, 75)).round(4).tolist(),
    }


def _timed(pool: EvaluatorPool) -> Callable[[Genotypes], float]:
    def evaluate(genotypes: Genotypes) -> float:
        began = time.perf_counter()
        for _ in pool.evaluate(genotypes):
            pass
        return time.perf_counter() - began

    return evaluate


@contextlib.contextmanager
def alone(
    make: Make, weights: Weights, workers: Workers
) -> Iterator[Callable[[Genotypes], float]]:
    """Gives what times a batch in a process of its own, without Ray.

    Args:
        make: Makes the function that evaluates.
        weights: Given to it.
        workers: Whose environment the process has.
    """
    here, there = multiprocessing.Pipe()
    before = dict(os.environ)
    os.environ.update(workers.environment)
    process = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(there, make, weights)
    )
    process.start()
    os.environ.clear()
    os.environ.update(before)
    # Its copy of this end is what tells a reader that the process is gone.
    there.close()

    def evaluate(genotypes: Genotypes) -> float:
        here.send(genotypes)
        return here.recv()

    try:
        yield evaluate
    finally:
        here.close()
        process.join()


def _serve(connection: Connection, make: Make, weights: Weights) -> None:
    evaluate = make(weights)
    with contextlib.suppress(EOFError):
        while True:
            genotypes = connection.recv()
            began = time.perf_counter()
            for start in range(0, len(genotypes), CHUNK):
                evaluate(genotypes[start : start + CHUNK], WHOLE)
            connection.send(time.perf_counter() - began)


class MakeTrivial:
    """Makes a function that evaluates in no time."""

    def __call__(self, weights: Weights) -> EvaluateBatch:
        """Returns a function that gives the one weight there is."""
        loss = weights["loss"]

        def evaluate(genotypes: Genotypes, _part: Part) -> Metrics:
            return {"loss": np.full(len(genotypes), loss)}

        return evaluate


def overhead(space: Space, path: Path, batches: int) -> dict[str, Any]:
    """Returns what is added to each subnet: by Ray, and by the archive on disk.

    Args:
        space: Whose subnets they are.
        path: Of an archive that is made.
        batches: How many are timed, of `BATCH` subnets, after one that is not.
    """
    workers = Workers(count=1, resources={"CPU": 1.0})
    pool = EvaluatorPool(workers, MakeTrivial(), ray.put({"loss": np.zeros(())}))
    archive = RemoteArchive(ray.remote(ArchiveKeeper).options(num_cpus=0).remote(path))
    rng = np.random.default_rng(0)
    scheduling: list[float] = []
    keeping: list[float] = []
    evaluate = _timed(pool)
    for turn in range(batches + 1):
        genotypes = np.unique(space.sample(BATCH, rng), axis=0)
        scheduled = evaluate(genotypes) / len(genotypes)
        kept = _keep(archive, space, genotypes) / len(genotypes)
        if turn > 0:
            scheduling.append(1e3 * scheduled)
            keeping.append(1e3 * kept)
    pool.close()
    return {
        "batches": batches,
        "ray_ms": round(float(np.median(scheduling)), 4),
        "archive_ms": round(float(np.median(keeping)), 4),
    }


def _keep(archive: RemoteArchive, space: Space, genotypes: Genotypes) -> float:
    records = [
        Record(
            genotype=tuple(genotype.tolist()),
            arch=space.decode(genotype).to_json(),
            metrics={"loss": 0.0},
            campaign="overhead",
            index=index,
            seconds=time.time(),
        )
        for index, genotype in enumerate(genotypes)
    ]
    began = time.perf_counter()
    archive.lookup_many(genotypes)
    for start in range(0, len(records), CHUNK):
        archive.append(records[start : start + CHUNK])
    return time.perf_counter() - began


def readme_rows(results: dict[str, Any]) -> list[str]:
    """Returns the lines of the README's table of measured results."""
    sides, added, whole = (results[n] for n in ("throughput", "overhead", "search"))
    found = {
        "Evaluating through Ray": f"{sides['share']:.0%} of a process alone "
        f"({sides['ray_per_second']:.0f} against {sides['alone_per_second']:.0f} "
        "subnets per second)",
        "Ray's share of a subnet": f"{added['ray_ms']:.2f} ms, and "
        f"{added['archive_ms']:.2f} ms until it is on disk",
        f"Searching {whole['subnets']:,} subnets of the quick start": (
            f"{whole['seconds']:.0f} s on {results['machine']['cores']} cores"
        ),
    }
    return [f"| {what} | {value} |" for what, value in found.items()]


if __name__ == "__main__":
    main()
