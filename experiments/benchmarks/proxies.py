"""Compares zero-cost proxies with what a run evaluated, and what predictors gain.

    uv run python -m experiments.benchmarks.proxies --run runs/quickstart

Writes `experiments/results/proxies.json` and `proxies.png`. Nothing is trained: proxies
of the architectures in the run's archive are computed at the weights that its training
started from and at those that it ended with, and compared with the evaluated scores.
"""

import argparse
import time
from collections.abc import Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from rich.console import Console

from experiments.benchmarks.arguments import positive
from experiments.benchmarks.proxies_figure import proxies_figure
from nas.errors import UsageError
from nas.evaluation import PROXY_EXAMPLES
from nas.experiment import Experiment
from nas.predictors import COUNTED, as_seen
from nas.provenance import processor
from nas.report import drawing
from nas.rundir import RunDirectory, short_path, write_bytes, write_json
from nas.supernet import load_supernet
from search.archive import Archive, Record
from search.predictors import Combination, GaussianProcess, Members, Predictor, Ridge
from search.predictors.features import Columns
from search.predictors.predictor import Values
from search.predictors.scores import kendall_tau
from search.space import Genotypes
from supernets.proxies.names import PROXIES, metric_name
from supernets.proxies.population import make_proxies
from supernets.weights import Params

RESULTS = Path(__file__).parent.parent / "results"
RUN = Path("runs/quickstart")
COMMAND = "uv run python -m experiments.benchmarks.proxies"

SIZES = (16, 32, 64)
"""Architectures that predictors learn from."""

MOST = 256
"""Architectures of the archive that are looked at, at random where there are more."""

SEEDS = 10
CHUNK = 8
LEAST = 2 * SIZES[0]

ON_GENES: dict[str, Predictor] = {
    "Gaussian process": GaussianProcess(),
    "Ridge": Ridge(),
}
"""Predictors that are given proxies beside genes."""


def main() -> None:
    """Compares and records."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--run", type=Path, default=RUN, help="a finished run")
    parser.add_argument(
        "--count", type=positive, default=MOST, help="architectures at most"
    )
    parser.add_argument("--seeds", type=positive, default=SEEDS, help="repetitions")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where to write")
    options = parser.parse_args()
    if options.count < LEAST:
        parser.error(f"--count: must be at least {LEAST}, got {options.count}")
    results = compare(RunDirectory(options.run), options.count, options.seeds)
    write_json(options.out / "proxies.json", results)
    figure = proxies_figure(results)
    write_bytes(options.out / "proxies.png", drawing.to_png(figure))
    rows = readme_rows(results)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print(*rows, sep="\n")


def compare(run: RunDirectory, count: int, seeds: int) -> dict[str, Any]:
    """Returns rank correlations of proxies, and of predictors with and without them.

    Args:
        run: That has searched.
        count: Architectures to look at, at most.
        seeds: How often predictors learn from other architectures.

    Raises:
        UsageError: If it is no run, was not trained, or evaluated too few.
    """
    experiment, supernet = run.experiment(), load_supernet(run)
    records = chosen(run, count)
    genotypes = np.asarray([record.genotype for record in records], np.int32)
    score = experiment.shown[0]
    values = np.asarray([record.metrics[score] for record in records], float)
    networks = {
        "initial": experiment.model.build(rngs=nnx.Rngs(experiment.seed)),
        "trained": supernet,
    }
    params = {name: nnx.state(net, nnx.Param) for name, net in networks.items()}
    found, seconds = proxies_of(experiment, supernet, params, genotypes)
    return {
        "command": COMMAND,
        "run": str(short_path(run.path)),
        "processor": processor(),
        "score": score,
        "architectures": len(records),
        "examples": min(experiment.search.examples, PROXY_EXAMPLES),
        "seconds_each": seconds,
        "proxies": {
            weights: {
                proxy: order(columns[:, number], values)
                for number, proxy in enumerate(PROXIES)
            }
            for weights, columns in found.items()
        },
        "costs": {
            name: order(np.asarray([r.metrics[name] for r in records], float), values)
            for name in COUNTED
        },
        "seeds": seeds,
        **learnt(Members(experiment.model.space(), genotypes), values, found, seeds),
    }


def chosen(run: RunDirectory, count: int) -> list[Record]:
    """Returns some of what a run evaluated, at random.

    Raises:
        UsageError: If that is too little.
    """
    records = Archive(run.archive).records
    if len(records) < LEAST:
        raise UsageError(
            f"--run: {run.archive} holds {len(records)} architectures; at least "
            f"{LEAST} are needed"
        )
    rows = np.random.default_rng(0).permutation(len(records))[:count]
    return [records[row] for row in rows]


def proxies_of(
    experiment: Experiment,
    supernet: nnx.Module,
    weights: Mapping[str, Params],
    genotypes: Genotypes,
) -> tuple[dict[str, Columns], float]:
    """Returns proxies in their order, and the seconds that one architecture takes.

    Args:
        experiment: Whose data are looked at.
        supernet: The supernet.
        weights: Of it, by what they are called; proxies are too.
        genotypes: Of the architectures.
    """
    measure = make_proxies(
        supernet, experiment.model.space(), PROXIES, execution=experiment.execution
    )
    data = experiment.data.fixed("search", experiment.search.examples)
    first = jax.tree.map(itemgetter(slice(PROXY_EXAMPLES)), data)
    missing = -len(genotypes) % CHUNK
    padded = np.concatenate([genotypes, np.repeat(genotypes[:1], missing, axis=0)])
    chunks = np.split(padded, len(padded) // CHUNK)
    names = [metric_name(proxy) for proxy in PROXIES]
    found: dict[str, Columns] = {}
    seconds = 0.0
    for name, held in weights.items():
        params = jax.device_put(held)
        # Compiled before the time is taken.
        measure(params, chunks[0], *first)
        began = time.perf_counter()
        parts = [measure(params, chunk, *first) for chunk in chunks]
        seconds = (time.perf_counter() - began) / len(padded)
        columns = [np.concatenate([part[n] for part in parts]) for n in names]
        found[name] = np.stack(columns, axis=1)[: len(genotypes)]
    return found, round(seconds, 5)


def order(metric: Values, values: Values) -> float | None:
    """Returns Kendall's tau of a metric of which more is better, None without one."""
    tau = kendall_tau(-metric, values)
    return None if np.isnan(tau) else tau


def learnt(
    genes: Members, values: Values, found: Mapping[str, Columns], seeds: int
) -> dict[str, Any]:
    """Returns the tau of every predictor, by architectures learnt from and seed.

    All of a seed predict the same architectures, which none has learnt from.
    """
    contenders = [(name, predictor, genes) for name, predictor in ON_GENES.items()]
    for weights, columns in found.items():
        members = Members(genes.space, genes.genotypes, as_seen(columns))
        contenders += [
            (f"{name}, {weights} proxies", predictor, members)
            for name, predictor in ON_GENES.items()
        ]
        contenders.append((f"Learnt sum, {weights} proxies", Combination(), members))
    sizes = [size for size in SIZES if size <= len(values) - LEAST // 2]
    taus: dict[str, list[list[float | None]]] = {name: [] for name, *_ in contenders}
    for size in sizes:
        orders = [
            np.random.default_rng(seed).permutation(len(values))
            for seed in range(seeds)
        ]
        for name, predictor, members in contenders:
            by_seed = []
            for rows in orders:
                # The last are held out whatever the size, so that sizes compare.
                train, test = rows[:size], rows[sizes[-1] :]
                fitted = predictor.fit(members.take(train), values[train])
                predicted = fitted.predict(members.take(test)).mean
                by_seed.append(order(-predicted, values[test]))
            taus[name].append(by_seed)
    return {"held_out": len(values) - sizes[-1], "sizes": sizes, "predictors": taus}


def readme_rows(results: Mapping[str, Any]) -> list[str]:
    """Returns the lines of the README's table of proxies."""

    def listed(taus: Mapping[str, float | None]) -> str:
        return ", ".join(f"{name} {in_words(tau)}" for name, tau in taus.items())

    size = results["sizes"][-1]
    means = {name: mean(by_size[-1]) for name, by_size in results["predictors"].items()}
    found = {
        "Proxies at the first weights": listed(results["proxies"]["initial"]),
        "Proxies at the trained weights": listed(results["proxies"]["trained"]),
        "Costs, the more the better": listed(results["costs"]),
        **{f"{name}, from {size}": in_words(tau) for name, tau in means.items()},
    }
    picture = "[picture](experiments/results/proxies.png)"
    return [
        "| **Zero-cost proxies** and predictors, Kendall tau with the loss: `"
        f"{COMMAND} --run runs/quickstart` | "
        f"[all figures](experiments/results/proxies.json), {picture} |",
        *(f"| {what} | {value} |" for what, value in found.items()),
    ]


def mean(taus: list[float | None]) -> float | None:
    """Returns the mean of those that there are."""
    known = [tau for tau in taus if tau is not None]
    return float(np.mean(known)) if known else None


def in_words(tau: float | None) -> str:
    """Writes a rank correlation."""
    return "none" if tau is None else f"{tau:.2f}"


if __name__ == "__main__":
    main()
