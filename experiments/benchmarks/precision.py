"""Measures what it is worth that one network holds all bits, and that layers differ.

    uv run python -m experiments.benchmarks.precision

A decoder of one shape learns in 16 bits for half of its steps. From there on, on the
same data in the same order, with the same optimiser for as many steps, learn

- *elastic*: one network of all of 2, 3, 4, 6 and 8 bits, each of them in every step;
- *alone*: a network for each bit-width, in which it is all that is ever trained;
- *rounded*: the network of 16 bits, which is only rounded at the end, with scales of
  the least error; with `--qwix` also by Qwix (in an environment of its own, which needs
  a network to be built);
- *nested*: one network whose fewer bits are the leading ones of 8 (MatQuant, Nair
  2025): all of them in every step, or only 8, which are then cut.

An elastic step makes a pass for each bit-width, as networks alone do in a step each.

Then the elastic network of the first seed is asked for all assignments of bits to its
layers. The search split chooses among them: the best under each size are compared once
more, on more text, and bits that differ are chosen only where they are surely better.
The test split tells what that gained. Assignments by the importance of layers (arXiv
2406.17415) are told beside the mean of all orders of the same bits, and how well
predictors that saw few assignments order the others (EQ-Net, Xu 2023, section 3.4).
`--run` draws the front of a search over shape and bits too, such as that of
`experiments.elastic_bits_lm`; that network had other sizes and steps.

Writes `experiments/results/precision.json` and `precision.png`. What is finished is
kept in `runs/precision`: the same line goes on where a killed one stopped.
"""

import argparse
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from experiments.benchmarks.arguments import positive
from experiments.benchmarks.precision_figure import precision_figure
from experiments.benchmarks.precision_training import Setting
from experiments.benchmarks.precision_units import ALL_WIDTHS, MIXED, Study
from nas import AdamW, Decoder, Losses, StdlibText
from nas.allocator import keep_memory
from nas.errors import UsageError
from nas.front import load_front
from nas.provenance import provenance
from nas.report import drawing
from nas.rundir import RunDirectory, write_bytes, write_json

RESULTS = Path(__file__).parent.parent / "results"
FOLDER = Path("runs/precision")
COMMAND = "uv run python -m experiments.benchmarks.precision"

STEPS = 200
SEEDS = 3

SETTING = Setting(
    model=Decoder(width=(64,), heads=(2,), ffn=(192,), depth=(4,), head_dim=32),
    bits=(2, 3, 4, 6, 8),
    data=StdlibText(tokens=128),
    batch=8,
    windows=384,
    final=2048,
    optimizer=AdamW(learning_rate=4e-3),
)

TARGET_PERCENT = 1.0
"""How much worse than a network of that bit-width alone the elastic one may be."""

TARGET_BITS = ("8", "6", "4")
"""Where it may not be worse than that."""


def main() -> None:
    """Measures and records."""
    options = _options()
    keep_memory()
    console = Console(highlight=False, soft_wrap=True)
    study = Study(
        setting=SETTING,
        steps=options.steps,
        seeds=tuple(range(options.seeds)),
        policy=ALL_WIDTHS,
        mixed=MIXED,
        losses=Losses(),
        qwix=options.qwix,
        folder=options.out,
        console=console,
    )
    try:
        joint = joint_front(options.run) if options.run else None
        study.run()
    except UsageError as error:
        raise SystemExit(str(error)) from None
    results = summary(study, joint)
    write_json(options.results / "precision.json", results)
    figure = precision_figure(results)
    write_bytes(options.results / "precision.png", drawing.to_png(figure))
    console.print(*readme_rows(results), sep="\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    counts = {
        "--steps": (STEPS, "steps in 16 bits, and after that in each of the others"),
        "--seeds": (SEEDS, "how many seeds"),
    }
    for flag, (default, words) in counts.items():
        parser.add_argument(
            flag, type=positive, default=default, help=f"{words} (default: {default})"
        )
    parser.add_argument(
        "--qwix", action="store_true", help="round by Qwix too, for comparison"
    )
    parser.add_argument("--run", type=Path, help="run of a search over shape and bits")
    parser.add_argument(
        "--out", type=Path, default=FOLDER, help=f"finished work (default: {FOLDER})"
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="where JSON and figure go"
    )
    return parser.parse_args()


def joint_front(path: Path) -> dict[str, Any]:
    """Returns size and test loss of the front of a run, smallest first, and its steps.

    Raises:
        UsageError: If there is no front, or its search did not look at the size.
    """
    run = RunDirectory(path)
    found = []
    for member in load_front(run.front):
        if not {"size_mb", "test_loss"} <= set(member.metrics):
            raise UsageError(
                f"--run: the front of {path} has no size_mb; give the run of a recipe "
                "with a precision, such as experiments.elastic_bits_lm"
            )
        size, loss = member.metrics["size_mb"], member.metrics["test_loss"]
        found.append({"size_mb": size, "loss": loss})
    points = sorted(found, key=lambda point: point["size_mb"])
    steps = run.experiment().train.steps
    return {"name": run.path.name, "steps": steps, "front": points}


def summary(study: Study, joint: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns all that was found; losses are of the test split, by bits and seed."""
    origin = provenance(command=COMMAND, seed=0, data_digest="")
    setting, seeds = study.setting, study.seeds
    alone = [{str(b): study.alone(b, s)[str(b)] for b in setting.bits} for s in seeds]
    widths = {
        "elastic": [study.elastic(seed) for seed in seeds],
        "alone": alone,
        "rounded": [study.whole(seed) for seed in seeds],
        "nested": [study.nested("joint")],
        "sliced": [study.nested("sliced")],
    }
    if study.qwix:
        widths["qwix"] = [study.by_qwix(seed) for seed in seeds]
    return {
        "command": _command(study, joint),
        "machine": {
            "processor": origin["processor"],
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "packages": origin["packages"],
            "backend": origin["backend"],
        },
        "git": origin["git"],
        "unit": setting.data.loss_unit,
        "steps": study.steps,
        "seeds": list(seeds),
        "batch": setting.batch,
        "tokens": setting.data.tokens,
        "windows": setting.windows,
        "final_windows": setting.final,
        "bits": list(setting.bits),
        "whole": [round(study.whole(seed)["16"], 5) for seed in seeds],
        "widths": {
            name: {
                str(bits): [round(found[str(bits)], 5) for found in by_seed]
                for bits in setting.bits
            }
            for name, by_seed in widths.items()
        },
        "assignments": {name: study.assignments(name) for name in ("mixed", "elastic")},
        "joint": joint,
    }


def _command(study: Study, joint: Mapping[str, Any] | None) -> str:
    words = [COMMAND]
    if study.qwix:
        words.append("--qwix")
    if joint:
        words.append(f"--run runs/{joint['name']}")
    return " ".join(words)


def gap(results: Mapping[str, Any], name: str, bits: str) -> float:
    """Returns the percentage by which it is worse than alone: the mean over seeds."""
    losses, alone = (np.asarray(results["widths"][n][bits]) for n in (name, "alone"))
    # Some was measured with the first seeds only.
    return float(np.mean(100 * (losses / alone[: len(losses)] - 1)))


def readme_rows(results: Mapping[str, Any]) -> list[str]:
    """Returns the lines of the README's table of measured results."""
    bits = [str(width) for width in reversed(results["bits"])]
    titles = {
        "elastic": "One network of all bits",
        "rounded": "Rounded after training, with searched scales",
        "qwix": "Rounded after training by Qwix",
        "nested": "Leading bits of one 8-bit code, all trained, one seed",
        "sliced": "The same, only 8 bits trained",
    }
    lines = []
    for name, title in titles.items():
        if name not in results["widths"]:
            continue
        gaps = [gap(results, name, width) for width in bits]
        words = " / ".join(f"{value:+.1f}%" for value in gaps)
        if name == "elastic":
            words = f"{words}; {_within(results, name)}"
        lines.append(f"| {title}: {' / '.join(bits)} bits | {words} |")
    return [*lines, *_assigned(results)]


def _within(results: Mapping[str, Any], name: str) -> str:
    asked = [width for width in TARGET_BITS if width in results["widths"][name]]
    near = sum(gap(results, name, width) <= TARGET_PERCENT for width in asked)
    return (
        f"at {', '.join(asked)} bits {near} of {len(asked)} within {TARGET_PERCENT:g}%"
    )


def _assigned(results: Mapping[str, Any]) -> list[str]:
    trained = {
        "mixed": "trained on random assignments",
        "elastic": "trained with all layers alike",
    }
    found = results["assignments"]
    lines = [_gains(words, found[name]) for name, words in trained.items()]
    orders = {
        name: np.asarray([entry["gain_percent"] for entry in entries])
        for name, entries in found["mixed"]["importance"].items()
    }
    by = ", ".join(
        f"{name} {-gains.mean():+.2f}% in the mean, lower in {(gains > 0).sum()} of "
        f"{len(gains)}"
        for name, gains in orders.items()
    )
    taus = ", ".join(
        f"{name} {np.mean(values):.2f}"
        for name, values in found["mixed"]["kendall_tau"].items()
    )
    return [
        *lines,
        f"| Bits by the importance of layers, loss against the mean order of the same "
        f"bits | {by} |",
        f"| Kendall tau of predictors that learnt from "
        f"{found['mixed']['learnt_from']} assignments | {taus} |",
    ]


def _gains(words: str, found: Mapping[str, Any]) -> str:
    """Returns the line of what mixed bits gain over the same in all layers."""
    gains = (found[f"{which}_gain_percent"] for which in ("mean", "best", "worst"))
    # Not the negative: no gain is no change, not one of -0.0.
    mean, best, worst = (f"{0.0 - gain:+.1f}%" for gain in gains)
    return (
        f"| Best of {found['count']} assignments of bits to layers, {words}, where "
        f"surely better (by {found['standard_errors']:g} standard errors), loss "
        f"against layers alike within the same size | {mean} in the mean of "
        f"{found['budgets']} sizes, {best} at best, {worst} at worst; as good or "
        f"better at {found['budgets_at_least_as_good']} |"
    )


if __name__ == "__main__":
    main()
