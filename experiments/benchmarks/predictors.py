"""Compares accuracy predictors by how few architectures they need.

    uv run python -m experiments.benchmarks.predictors [--archive RUN/archive.jsonl]

Writes `experiments/results/predictors.json` and `predictors.png`. Predictors learn from
some architectures of a space and predict others. Losses are those of a stand-in, a
formula with noise (`experiments.benchmarks.landscape`); with `--archive` also those
that a run evaluated, where the `config.json` beside the file says which space it is.
"""

import argparse
import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from experiments.benchmarks.arguments import positive
from experiments.benchmarks.landscape import Landscape
from experiments.benchmarks.predictors_figure import predictors_figure
from nas.errors import UsageError
from nas.report import drawing
from nas.rundir import RunDirectory, write_bytes, write_json
from search.archive import Archive
from search.predictors import (
    BestOf,
    Combination,
    Ensemble,
    GaussianProcess,
    Members,
    Predictor,
    Ridge,
)
from search.predictors.predictor import Values
from search.predictors.scores import Scores

RESULTS = Path(__file__).parent.parent / "results"
COMMAND = "uv run python -m experiments.benchmarks.predictors"

SIZES = (16, 32, 64, 128, 256, 512)
SEEDS = 5
HELD_OUT = 500
"""Architectures that are predicted, at most half of an archive."""

TOP = 10
NOISE = 0.01

PREDICTORS: dict[str, Predictor] = {
    "Gaussian process": GaussianProcess(),
    "Ridge": Ridge(),
    "Ensemble": Ensemble(),
    "Best of two": BestOf(candidates=(GaussianProcess(), Ridge())),
    "Combination": Combination(),
}


def main() -> None:
    """Compares and records."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--archive", type=Path, help="archive.jsonl of a run")
    parser.add_argument("--seeds", type=positive, default=SEEDS, help="repetitions")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where to write")
    options = parser.parse_args()
    began = time.perf_counter()
    tables = {"stand-in": stand_in()}
    if options.archive is not None:
        tables["archive"] = of_archive(options.archive)
    results = {
        "command": COMMAND,
        "seeds": options.seeds,
        "top": TOP,
        "noise": NOISE,
        "tables": {name: compare(*t, options.seeds) for name, t in tables.items()},
    }
    results["seconds"] = round(time.perf_counter() - began, 1)
    write_json(options.out / "predictors.json", results)
    figure = predictors_figure(results)
    write_bytes(options.out / "predictors.png", drawing.to_png(figure))
    Console().print(*rows(results), sep="\n", highlight=False, soft_wrap=True)


def stand_in() -> tuple[Members, Values]:
    """Returns architectures of all sizes and what the stand-in scores them."""
    landscape = Landscape(noise=NOISE)
    rng = np.random.default_rng(0)
    count = SIZES[-1] + HELD_OUT
    drawn = landscape.space.sample(2 * count, rng, rng.random(2 * count))
    genotypes = rng.permutation(np.unique(drawn, axis=0))[:count]
    costs = np.stack(list(landscape.cheap(genotypes).values()), axis=1)
    members = Members(landscape.space, genotypes, np.log(costs))
    return members, landscape.loss(genotypes)


def of_archive(path: Path) -> tuple[Members, Values]:
    """Returns the architectures of a run and the first score of each.

    Raises:
        UsageError: If there is no such file, or too few architectures in it.
    """
    if not path.exists():
        raise UsageError(f"--archive: {path} does not exist")
    experiment = RunDirectory(path.parent).experiment()
    archive = Archive(path).records
    if len(archive) < 2 * SIZES[0]:
        raise UsageError(
            f"--archive: {path} holds {len(archive)} architectures; at least "
            f"{2 * SIZES[0]} are needed"
        )
    score = experiment.scores[0]
    genotypes = np.asarray([record.genotype for record in archive], np.int32)
    names = sorted(set(archive[0].metrics) - set(experiment.scores))
    costs = np.asarray([[r.metrics[name] for name in names] for r in archive])
    columns = np.log(costs[:, (costs > 0).all(0)])
    members = Members(experiment.model.space(), genotypes, columns)
    return members, np.asarray([r.metrics[score] for r in archive], float)


def compare(members: Members, values: Values, seeds: int) -> dict[str, Any]:
    """Scores every predictor for every number of architectures.

    Args:
        members: All architectures.
        values: What they score.
        seeds: How often they are divided anew.
    """
    held_out = min(HELD_OUT, len(values) // 2)
    sizes = [size for size in SIZES if size <= len(values) - held_out]
    found: dict[str, list[list[dict[str, float]]]] = {name: [] for name in PREDICTORS}
    for size in sizes:
        for scores in found.values():
            scores.append([])
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(len(values))
            test, train = order[:held_out], order[held_out : held_out + size]
            for name, predictor in PREDICTORS.items():
                began = time.perf_counter()
                fitted = predictor.fit(members.take(train), values[train])
                prediction = fitted.predict(members.take(test))
                seconds = time.perf_counter() - began
                scores = Scores.of(prediction, values[test], TOP)
                entry = dataclasses.asdict(scores) | {"seconds": seconds}
                found[name][-1].append(entry)
    return {
        "architectures": len(values),
        "held_out": held_out,
        "sizes": sizes,
        "predictors": {
            name: {
                score: [[entry[score] for entry in size] for size in by_size]
                for score in by_size[0][0]
            }
            for name, by_size in found.items()
        },
    }


def rows(results: Mapping[str, Any]) -> list[str]:
    """Returns the lines of a table: mean Kendall tau by number of architectures."""
    lines = []
    for table, found in results["tables"].items():
        sizes = " | ".join(str(size) for size in found["sizes"])
        lines.append(f"| {table}: Kendall tau | {sizes} |")
        for name, scores in found["predictors"].items():
            means = [f"{np.mean(taus):.2f}" for taus in scores["kendall_tau"]]
            lines.append(f"| {name} | {' | '.join(means)} |")
    return lines


if __name__ == "__main__":
    main()
