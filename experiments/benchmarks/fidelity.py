"""Measures what is lost by evaluating subnets on fewer examples, and what is gained.

    uv run python -m experiments.benchmarks.fidelity --run runs/quickstart

Subnets of all sizes of a trained run are scored on every eighth of the search examples:
how well does a share of them order the subnets as all do? Then the run's own algorithm
searches with and without successive halving, at equal numbers of examples looked at.

Writes `experiments/results/fidelity.json` and `fidelity.png`.
"""

import argparse
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from rich.console import Console
from safetensors.numpy import load_file

from experiments.benchmarks.arguments import positive
from experiments.benchmarks.fidelity_figure import fidelity_figure
from nas.evaluation import MakeEvaluate
from nas.experiment import Experiment
from nas.metrics import problem_of
from nas.report import drawing
from nas.rundir import RunDirectory, write_bytes, write_json
from nas.search_driver import reference_point
from search.algorithm import Algorithm
from search.answering import Evaluate
from search.archive import Archive
from search.campaign import run_campaign
from search.fidelity import WHOLE, Part, Rungs, SuccessiveHalving
from search.predictors.scores import kendall_tau, top_regret
from search.problem import Metrics, Problem
from search.space import Genotypes
from search.workers import CHUNK, EvaluateBatch
from supernets.gradient_search.specs import GradientSearch

RESULTS = Path(__file__).parent.parent / "results"
COMMAND = "uv run python -m experiments.benchmarks.fidelity --run runs/quickstart"

PIECES = 8
SHARES = (1 / 8, 1 / 4, 1 / 2)
SUBNETS, EVALUATIONS, SEEDS, TOP = 128, 96, 5, 10

Table = Float[np.ndarray, "subnets pieces"]


def main() -> None:
    """Measures and records."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--run", type=Path, required=True, help="a trained run")
    for name, default in (
        ("subnets", SUBNETS),
        ("evaluations", EVALUATIONS),
        ("seeds", SEEDS),
    ):
        parser.add_argument(f"--{name}", type=positive, default=default)
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write")
    options = parser.parse_args()
    run = RunDirectory(options.run)
    experiment = in_pieces(run.experiment())
    algorithm = experiment.search.algorithm
    if isinstance(algorithm, GradientSearch):
        parser.error(f"{options.run} is searched by gradient, not in generations")
    problem, scorer = problem_of(experiment, run), Scorer(experiment, run)
    score = experiment.shown[0]
    results = {
        "command": COMMAND,
        "run": options.run.name,
        "score": score,
        "examples": experiment.search.examples,
        "ranking": rankings(table(problem, scorer, options.subnets, score)),
        "search": searches(
            problem,
            algorithm,
            scorer,
            reference_point(problem, run),
            evaluations=options.evaluations,
            seeds=options.seeds,
        ),
    }
    write_json(options.results / "fidelity.json", results)
    figure = fidelity_figure(results)
    write_bytes(options.results / "fidelity.png", drawing.to_png(figure))
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print(*readme_rows(results), sep="\n")


def in_pieces(experiment: Experiment) -> Experiment:
    """Returns the experiment with examples that are in eight equal pieces."""
    examples = PIECES * math.ceil(experiment.search.examples / PIECES)
    halving = SuccessiveHalving(fractions=(1 / PIECES, 1.0))
    search = dataclasses.replace(experiment.search, examples=examples, fidelity=halving)
    return dataclasses.replace(experiment, search=search)


class Scorer:
    """Scores subnets on parts of the examples, each piece of them once.

    Args:
        experiment: Whose examples are in pieces.
        run: Of its weights.
    """

    def __init__(self, experiment: Experiment, run: RunDirectory) -> None:
        weights = load_file(run.supernet)
        self._evaluate: EvaluateBatch = MakeEvaluate(experiment)(weights)
        self._known: dict[tuple[tuple[int, ...], int], dict[str, float]] = {}

    def __call__(
        self, genotypes: Genotypes, part: Part = WHOLE
    ) -> Iterator[tuple[int, Metrics]]:
        """Yields start and mean scores of each chunk."""
        first, stop = (round(PIECES * share) for share in part)
        for start in range(0, len(genotypes), CHUNK):
            rows = genotypes[start : start + CHUNK]
            pieces = [self._piece(rows, piece) for piece in range(first, stop)]
            yield (
                start,
                {
                    name: np.mean([piece[name] for piece in pieces], axis=0)
                    for name in pieces[0]
                },
            )

    def _piece(self, genotypes: Genotypes, piece: int) -> Metrics:
        keys = [(tuple(row), piece) for row in genotypes.tolist()]
        new = np.flatnonzero([key not in self._known for key in keys])
        if len(new):
            part = (piece / PIECES, (piece + 1) / PIECES)
            for name, values in self._evaluate(genotypes[new], part).items():
                for row, value in zip(new, values.tolist(), strict=True):
                    self._known.setdefault(keys[row], {})[name] = value
        found = [self._known[key] for key in keys]
        return {name: np.asarray([f[name] for f in found]) for name in found[0]}


def table(problem: Problem, scorer: Scorer, count: int, score: str) -> Table:
    """Returns the score of subnets of all sizes on each piece of the examples."""
    rng = np.random.default_rng(0)
    drawn = problem.space.sample(count, rng, rng.random(count))
    genotypes = np.unique(problem.space.canonical(drawn), axis=0)
    parts = [(at / PIECES, (at + 1) / PIECES) for at in range(PIECES)]
    columns = [[m[score] for _, m in scorer(genotypes, part)] for part in parts]
    return np.stack([np.concatenate(column) for column in columns], axis=1)


def rankings(scores: Table) -> dict[str, Any]:
    """Returns how well the first pieces order subnets as all of them do.

    ``regret_percent`` is how far the best of those that a share takes for the best ten
    is above the best of all.
    """
    whole = scores.mean(1)
    top = min(TOP, len(whole))
    estimates = [scores[:, : round(PIECES * share)].mean(1) for share in SHARES]
    regrets = [top_regret(estimate, whole, top) for estimate in estimates]
    return {
        "subnets": len(whole),
        "top": top,
        "shares": list(SHARES),
        "kendall_tau": [kendall_tau(estimate, whole) for estimate in estimates],
        "regret_percent": [100 * regret / whole.min() for regret in regrets],
    }


def searches(
    problem: Problem,
    algorithm: Algorithm,
    scorer: Callable[..., Iterator[tuple[int, Metrics]]],
    reference: Float[np.ndarray, " objectives"],
    *,
    evaluations: int,
    seeds: int,
) -> dict[str, Any]:
    """Returns the hypervolume of searches that look at equally many examples."""
    contenders: dict[str, Evaluate | Rungs] = {"all examples": scorer}
    for share in SHARES:
        halving = SuccessiveHalving(fractions=(share, 1.0))
        contenders[f"{share:g} first"] = Rungs(halving, scorer)

    def reached(evaluate: Evaluate | Rungs, seed: int) -> float:
        result = run_campaign(
            problem,
            algorithm,
            evaluate,
            Archive(),
            name="fidelity",
            seed=seed,
            budget=evaluations,
            reference=reference,
        )
        return result.history[-1].hypervolume

    return {
        "evaluations": evaluations,
        "hypervolume": {
            name: [reached(evaluate, seed) for seed in range(seeds)]
            for name, evaluate in contenders.items()
        },
    }


def readme_rows(results: Mapping[str, Any]) -> list[str]:
    """Returns the lines of the README's table."""
    ranking, search = results["ranking"], results["search"]
    shares = " / ".join(f"{share:g}" for share in ranking["shares"])
    taus = " / ".join(f"{tau:.2f}" for tau in ranking["kendall_tau"])
    regrets = " / ".join(f"{regret:.2f}%" for regret in ranking["regret_percent"])
    volumes = ", ".join(
        f"{name} {np.mean(values):.4g}"
        for name, values in search["hypervolume"].items()
    )
    picture = "[picture](experiments/results/fidelity.png)"
    return [
        f"| **Fewer examples for each subnet** ({results['run']}): `{COMMAND}` | [all "
        f"figures](experiments/results/fidelity.json), {picture} |",
        f"| Order of {ranking['subnets']} subnets by {shares} of the examples | "
        f"Kendall tau {taus}; regret of the best {ranking['top']} {regrets} |",
        f"| Hypervolume at {search['evaluations']} evaluations' examples | {volumes} |",
    ]


if __name__ == "__main__":
    main()
