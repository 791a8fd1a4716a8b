"""Measures what it costs subnets that one supernet holds them all, by training policy.

    uv run python -m experiments.benchmarks.policies

Each policy trains the supernet of the quick start twice: with as many passes forward
and backward as a plain sandwich takes, and for as long. Subnets of a fixed panel are
then compared with their *twins*: networks of the same architectures, trained alone on
the same data in the same order, with the same batch and kind of optimiser, for as many
steps as the sandwich takes. Where subnets of a step have examples of their own, each
still has as many as a twin, and the largest has those of its twin; what they share
learns from all of them. A policy that trains fewer subnets in a step takes more steps,
of a batch each: all subnets together then learn from more data than a twin does, which
is a good part of why they end below it. Every policy and every twin has that learning
rate of a common grid which is best for it on the search split; gaps are those of the
test split.

Writes `experiments/results/policies.json` and `policies.png`. What is finished is kept
in `runs/policies`: the same line goes on where a killed one stopped. How long a policy
may train does not depend on how busy the machine is: its steps are timed in processor
seconds, side by side with those of the sandwich.
"""

import argparse
import dataclasses
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from experiments.benchmarks.arguments import positive
from experiments.benchmarks.policies_contenders import (
    PANEL,
    POLICIES,
    REFERENCE,
    SETTING,
)
from experiments.benchmarks.policies_figure import policies_figure
from experiments.benchmarks.policies_units import BUDGETS, Budget, Comparison
from nas.allocator import keep_memory
from nas.errors import UsageError
from nas.provenance import provenance
from nas.report import drawing
from nas.rundir import write_bytes, write_json

RESULTS = Path(__file__).parent.parent / "results"
FOLDER = Path("runs/policies")
COMMAND = "uv run python -m experiments.benchmarks.policies"

STEPS = 300
SEEDS = 3
RATES = (2e-3, 4e-3, 8e-3, 1.6e-2)

TARGET_PERCENT = 1.0
"""How much worse than its twin a subnet may be."""


def main() -> None:
    """Measures and records."""
    options = _options()
    keep_memory()
    console = Console(highlight=False, soft_wrap=True)
    comparison = Comparison(
        setting=dataclasses.replace(SETTING, windows=options.windows),
        policies={name: POLICIES[name] for name in options.only},
        reference=POLICIES[REFERENCE],
        panel=PANEL,
        steps=options.steps,
        seeds=tuple(range(options.seeds)),
        rates=tuple(options.rates),
        folder=options.out,
        console=console,
    )
    try:
        comparison.run()
    except UsageError as error:
        raise SystemExit(str(error)) from None
    results = summary(comparison)
    write_json(options.results / "policies.json", results)
    figure = policies_figure(results)
    write_bytes(options.results / "policies.png", drawing.to_png(figure))
    console.print(*readme_rows(results), sep="\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    counts = {
        "--steps": (STEPS, "steps of twins and of the sandwich"),
        "--seeds": (SEEDS, "how many seeds"),
        "--windows": (SETTING.windows, "windows that losses are means over"),
    }
    for flag, (default, words) in counts.items():
        parser.add_argument(
            flag, type=positive, default=default, help=f"{words} (default: {default})"
        )
    parser.add_argument(
        "--rates", type=float, nargs="+", default=RATES, help="learning rates to try"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=list(POLICIES),
        default=list(POLICIES),
        metavar="POLICY",
        help=f"policies to compare, of {', '.join(POLICIES)}",
    )
    parser.add_argument(
        "--out", type=Path, default=FOLDER, help=f"finished work (default: {FOLDER})"
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="where JSON and figure go"
    )
    return parser.parse_args()


def summary(comparison: Comparison) -> dict[str, Any]:
    """Returns all that was found; losses are in nats per byte, gaps in percent."""
    origin = provenance(command=COMMAND, seed=0, data_digest="")
    setting, steps = comparison.setting, comparison.steps
    return {
        "command": COMMAND,
        "machine": {
            "processor": origin["processor"],
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "packages": origin["packages"],
            "backend": origin["backend"],
        },
        "git": origin["git"],
        "steps": steps,
        "seeds": list(comparison.seeds),
        "rates": list(comparison.rates),
        "batch": setting.batch,
        "tokens": setting.data.tokens,
        "windows": setting.windows,
        "panel": _panel(comparison),
        "policies": {name: _policy(comparison, name) for name in comparison.policies},
    }


def _panel(comparison: Comparison) -> dict[str, Any]:
    setting = comparison.setting
    costs = setting.model.costs(
        comparison.genotypes, batch=1, example=setting.data.example
    )
    found = {}
    for row, (name, member) in enumerate(comparison.panel.items()):
        losses = [comparison.twin(name, seed) for seed in comparison.seeds]
        found[name] = {
            "sizes": vars(member),
            "params": costs["params"][row],
            "macs": costs["macs"][row],
            "rate": comparison.twin_rate(name),
            "test_loss": [round(loss["test"][0], 5) for loss in losses],
            "search_loss": [round(loss["search"][0], 5) for loss in losses],
        }
    return found


def _policy(comparison: Comparison, name: str) -> dict[str, Any]:
    contender = comparison.policies[name]
    return {
        "title": contender.title,
        "step": contender.step,
        "trained": list(contender.trained),
        "rate": comparison.policy_rate(name),
        "passes_per_step": round(comparison.work[name].passes, 3),
        "step_time": comparison.step_time(name),
        "budgets": {
            budget: {
                "steps": comparison.steps_of(name, budget),
                "panel": _gaps(comparison, name, budget),
            }
            for budget in BUDGETS
        },
    }


def _gaps(comparison: Comparison, name: str, budget: Budget) -> dict[str, Any]:
    rows = np.asarray(
        [comparison.policy(name, budget, seed)["test"] for seed in comparison.seeds]
    )
    found = {}
    for member, losses in zip(comparison.panel, rows.T, strict=True):
        twins = [comparison.twin(member, s)["test"][0] for s in comparison.seeds]
        gaps = 100 * (losses / np.asarray(twins) - 1)
        found[member] = {
            "test_loss": [round(float(loss), 5) for loss in losses],
            "gap_percent": [round(float(gap), 3) for gap in gaps],
        }
    return found


def mean_gap(
    results: Mapping[str, Any], policy: str, budget: str, member: str
) -> float:
    """Returns the percentage by which a subnet is worse than its twin, over seeds."""
    panel = results["policies"][policy]["budgets"][budget]["panel"]
    return float(np.mean(panel[member]["gap_percent"]))


def readme_rows(results: Mapping[str, Any]) -> list[str]:
    """Returns the lines of the README's table of measured results."""
    members = " / ".join(results["panel"])
    lines = []
    for name, policy in results["policies"].items():
        found = []
        for budget, words in BUDGETS.items():
            gaps = [mean_gap(results, name, budget, m) for m in results["panel"]]
            steps = policy["budgets"][budget]["steps"]
            within = sum(gap <= TARGET_PERCENT for gap in gaps)
            each = " / ".join(f"{gap:+.1f}%" for gap in gaps)
            found.append(
                f"{words.lower()} ({steps} steps) {each}, "
                f"{within} of {len(gaps)} within {TARGET_PERCENT:g}%"
            )
        lines.append(f"| {policy['title']}: {members} | {'; '.join(found)} |")
    return lines


if __name__ == "__main__":
    main()
