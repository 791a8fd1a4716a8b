"""Measures what a preference for a task gains, and costs the other, under one budget.

    uv run python -m experiments.benchmarks.multitask

Trains the supernet of `experiments.controllable_multitask` with several seeds. Users
then ask for a subnet of it: by how many MACs it may take, and by the task that they
prefer, or none. Their decoders are chosen by the rule of Efficient Controllable
Multi-Task Architectures (arXiv 2308.11744), the larger for the preferred task, and
the encoder by search; beside it stands a search of the same effort that is free to
choose decoders as well. Searches compare subnets on the search split; what is told is
of the test split.

Writes `experiments/results/multitask.json` and `multitask.png`. What is finished is
kept in `runs/multitask`: the same line goes on where a killed one stopped. Folders of
finished trainings of the recipe may be given instead.
"""

import argparse
import dataclasses
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from flax import nnx
from rich.console import Console

from experiments.benchmarks.arguments import positive
from experiments.benchmarks.multitask_choice import (
    METHODS,
    POPULATION,
    Chosen,
    Wish,
    choose,
)
from experiments.benchmarks.multitask_figure import multitask_figure
from experiments.benchmarks.policies_units import Cache
from experiments.controllable_multitask import experiment as recipe
from nas.config import encode
from nas.data.dataset import Split
from nas.errors import RunError, UsageError
from nas.experiment import Experiment
from nas.job import run_stages
from nas.provenance import provenance
from nas.report import drawing
from nas.rundir import RunDirectory, write_bytes, write_json
from nas.supernet import load_supernet
from search.problem import Metrics
from search.space import Genotypes
from supernets.evaluation import make_evaluate
from supernets.multitask.spec import MultiTask

RESULTS = Path(__file__).parent.parent / "results"
FOLDER = Path("runs/multitask")
COMMAND = "uv run python -m experiments.benchmarks.multitask"

SEEDS = 3
BUDGETS = (0.15, 0.3, 0.5)
EVALUATIONS = 96
PAIRS: dict[Split, int] = {"search": 1024, "test": 2048}
"""Examples that subnets are compared on, and that are told of."""

Row = dict[str, Any]
"""What a user asked for with a seed, and what came of it."""


def main() -> None:
    """Measures and records."""
    options = _options()
    console = Console(highlight=False, soft_wrap=True)
    runs = options.runs or [options.out / f"seed{s}" for s in range(options.seeds)]
    try:
        rows = measure(runs, options.out / "cases.jsonl", options.evaluations, console)
    except (UsageError, RunError) as error:
        raise SystemExit(str(error)) from None
    results = summary(rows, evaluations=options.evaluations)
    write_json(options.results / "multitask.json", results)
    figure = drawing.to_png(multitask_figure(results))
    write_bytes(options.results / "multitask.png", figure)
    console.print(*readme_rows(results), sep="\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=positive, default=SEEDS, help="trainings")
    parser.add_argument(
        "--runs", type=Path, nargs="+", help="finished trainings to use instead"
    )
    parser.add_argument(
        "--evaluations", type=positive, default=EVALUATIONS, help="of each search"
    )
    parser.add_argument("--out", type=Path, default=FOLDER, help="finished work")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="where JSON and figure go"
    )
    return parser.parse_args()


def measure(
    runs: Sequence[Path], kept: Path, evaluations: int, console: Console
) -> list[Row]:
    """Returns a row for each training and wish; those that are kept are not made again.

    Args:
        runs: A run directory for each seed; what is not there yet is trained.
        kept: The file of finished rows.
        evaluations: Subnets that each search compares.
        console: Where progress is shown.

    Raises:
        UsageError: If a directory holds something else.
    """
    model = multi_task(recipe)
    learnt = {
        name: encode(getattr(recipe, name)) for name in ("model", "data", "train")
    }
    about = {**learnt, "evaluations": evaluations, "pairs": PAIRS}
    cache, judge = Cache(kept, about), Judge(recipe)
    rows = []
    for seed, path in enumerate(runs):
        trained = False
        for wish in wishes(model):
            key = [str(path), *dataclasses.astuple(wish)]
            row = cache.get(key)
            if row is None:
                if not trained:
                    judge.load(train(path, seed, console))
                    trained = True
                row = {"seed": seed, **judge.row(wish, evaluations, seed)}
                cache.keep(key, row)
                console.print(f"{path.name}: {wish}: {_errors(row)}")
            rows.append(row)
    return rows


def multi_task(experiment: Experiment) -> MultiTask:
    """Returns the model of an experiment.

    Raises:
        UsageError: If it is not one of several tasks.
    """
    if not isinstance(experiment.model, MultiTask):
        raise UsageError(f"{type(experiment.model).__name__} has no tasks to prefer")
    return experiment.model


def wishes(model: MultiTask) -> Iterator[Wish]:
    """Yields what users ask for: every budget, preference and method."""
    preferences = (*(task.name for task in model.tasks), None)
    for budget, preferred, method in itertools.product(BUDGETS, preferences, METHODS):
        yield Wish(budget=budget, preferred=preferred, method=method)


def train(path: Path, seed: int, console: Console) -> RunDirectory:
    """Returns a run directory with the supernet of the recipe, trained with a seed.

    Raises:
        UsageError: If the directory holds something else.
    """
    run = RunDirectory(path)
    if not run.supernet.exists():
        experiment = dataclasses.replace(recipe, seed=seed)
        run_stages(experiment, path, ("train",), console=console, command=COMMAND)
    if run.experiment().model != recipe.model:
        raise UsageError(f"{path} holds a run of another model than the recipe's")
    return run


class Judge:
    """Scores subnets of trained supernets of one model, with two compiled programs.

    Args:
        experiment: Says the model and the data.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.model, self.data = multi_task(experiment), experiment.data
        supernet = nnx.eval_shape(lambda: self.model.build(rngs=nnx.Rngs(0)))
        self.space = self.model.space()
        self.evaluate = make_evaluate(supernet, self.space)
        self.params: Any = None

    def load(self, run: RunDirectory) -> None:
        """Takes the weights of a run."""
        self.params = jax.device_put(nnx.state(load_supernet(run), nnx.Param))

    def scores(self, split: Split, genotypes: Genotypes) -> Metrics:
        """Returns the scores of subnets; losses are in nats."""
        inputs, targets = self.data.fixed(split, PAIRS[split])
        return self.evaluate(self.params, genotypes, inputs, targets)

    def losses(self, genotypes: Genotypes) -> Metrics:
        """Returns the scores that the search compares; see `Evaluate`."""
        # Always the same number, so that the program compiles once.
        padded = np.resize(genotypes, (POPULATION, genotypes.shape[1]))
        found = self.scores("search", padded)
        return {name: values[: len(genotypes)] for name, values in found.items()}

    def row(self, wish: Wish, evaluations: int, seed: int) -> Row:
        """Returns what a user gets."""
        choice = choose(
            self.model, wish, self.losses, evaluations=evaluations, seed=seed
        )
        return {**dataclasses.asdict(wish), **self._described(choice)}

    def _described(self, choice: Chosen) -> Row:
        rows = np.stack([choice.genotype, self.space.largest])
        macs = self.model.costs(rows, batch=1, example=self.data.example)["macs"]
        tested = self.scores("test", choice.genotype[None])
        return {
            "arch": self.space.decode(choice.genotype).to_json(),
            "macs_share": round(float(macs[0] / macs[1]), 4),
            "evaluations": choice.evaluations,
            "search_objective": round(choice.objective, 5),
            "test": {name: round(float(v[0]), 5) for name, v in tested.items()},
        }


def summary(rows: Sequence[Row], *, evaluations: int) -> dict[str, Any]:
    """Returns all that was found, and its means over seeds; losses are in nats."""
    origin = provenance(command=COMMAND, seed=0, data_digest=recipe.data.digest())
    seeds = sorted({row["seed"] for row in rows})
    tasks = [task.name for task in multi_task(recipe).tasks]
    return {
        "command": COMMAND,
        "machine": {
            "processor": origin["processor"],
            "cores": os.cpu_count(),
            "python": origin["python"],
            "packages": origin["packages"],
            "backend": origin["backend"],
        },
        "git": origin["git"],
        "steps": recipe.train.steps,
        "seeds": seeds,
        "evaluations": evaluations,
        "pairs": PAIRS,
        "tasks": tasks,
        "methods": METHODS,
        "budgets": [
            {
                "budget": budget,
                "methods": {
                    method: means(rows, tasks, budget, method) for method in METHODS
                },
            }
            for budget in BUDGETS
        ],
        "searched_decoders": searched_decoders(rows, tasks),
        "rows": list(rows),
    }


def means(
    rows: Sequence[Row], tasks: Sequence[str], budget: float, method: str
) -> dict[str, Any]:
    """Returns the errors by preference, and what preferring a task changes in it.

    ``error_percent`` holds, for each preference and task, the mean and the standard
    deviation over seeds. ``change_percent`` holds for each task by how much its error
    differs from that without a preference, relative to it: when it is preferred, and
    when another is. These are means over seeds of differences within a seed.
    """
    errors: dict[str, dict[str, Any]] = {}
    for preferred in (*tasks, None):
        picked = sorted(
            (row for row in rows if _is(row, budget, preferred, method)),
            key=lambda row: row["seed"],
        )
        errors[_key(preferred)] = {
            task: np.asarray([100 * row["test"][f"error_{task}"] for row in picked])
            for task in tasks
        }
    change = {
        task: {
            f"{_key(preferred)} preferred": _spread(
                100 * (errors[_key(preferred)][task] / errors[_key(None)][task] - 1)
            )
            for preferred in tasks
        }
        for task in tasks
    }
    return {
        "error_percent": {
            preferred: {task: _spread(values) for task, values in by_task.items()}
            for preferred, by_task in errors.items()
        },
        "change_percent": change,
    }


def _is(row: Row, budget: float, preferred: str | None, method: str) -> bool:
    asked = (row["budget"], row["preferred"], row["method"])
    return asked == (budget, preferred, method)


def _key(preferred: str | None) -> str:
    return "none" if preferred is None else preferred


def _spread(values: np.ndarray) -> dict[str, float]:
    """Returns the mean, and the standard deviation where there are several."""
    deviation = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
    return {
        "mean": round(float(values.mean()), 3),
        **({} if np.isnan(deviation) else {"deviation": round(deviation, 3)}),
    }


def _errors(row: Row) -> str:
    return ", ".join(
        f"{name.removeprefix('error_')} {100 * value:.1f}% wrong"
        for name, value in row["test"].items()
        if name.startswith("error_")
    )


def searched_decoders(
    rows: Sequence[Row], tasks: Sequence[str]
) -> dict[Literal["larger", "equal", "smaller"], int]:
    """Returns how often a search that was free to gave the preferred task more units.

    Than the largest of the other decoders has; it tells whether the rule is right.
    """
    found: dict[Literal["larger", "equal", "smaller"], int]
    found = {"larger": 0, "equal": 0, "smaller": 0}
    for row in rows:
        if row["method"] != "search" or row["preferred"] is None:
            continue
        units = {task: row["arch"][f"{task}_units"] for task in tasks}
        own = units.pop(row["preferred"])
        other = max(units.values())
        found["larger" if own > other else "equal" if own == other else "smaller"] += 1
    return found


def readme_rows(results: Mapping[str, Any]) -> list[str]:
    """Returns the lines of the README's table of measured results."""
    lines = [
        f"| Errors at {entry['budget']:.0%} of the MACs, {METHODS[method]} | "
        f"{_in_words(results['tasks'], found['error_percent'])} |"
        for entry in results["budgets"]
        for method, found in entry["methods"].items()
    ]
    counts = ", ".join(f"{n} {how}" for how, n in results["searched_decoders"].items())
    return [*lines, f"| Preferred task's decoder, where searched | {counts} |"]


def _in_words(tasks: Sequence[str], errors: Mapping[str, Any]) -> str:
    each = []
    for task in tasks:
        others = [errors[other][task]["mean"] for other in tasks if other != task]
        each.append(
            f"{task} {errors[task][task]['mean']:.1f}% preferred, "
            f"{errors['none'][task]['mean']:.1f}% neutral, "
            f"{np.mean(others):.1f}% not preferred"
        )
    return "; ".join(each)


if __name__ == "__main__":
    main()
