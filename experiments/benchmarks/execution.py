"""Measures what it costs that one program runs every subnet.

    uv run python -m experiments.benchmarks.execution

Writes `experiments/results/execution.json` and `execution.png`. Nothing else should be
running. The reference is always a program of static sizes for each subnet (`Fixed`),
compiled by the same compiler for the same shapes, and called in turn with the others.
"""

import argparse
import dataclasses
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from experiments.benchmarks.against_pytorch import DECODERS, NAMED
from experiments.benchmarks.arguments import positive
from experiments.benchmarks.execution_cases import (
    EXECUTIONS,
    FIXED,
    KINDS,
    Subject,
    Supernet,
    measure_subnets,
)
from experiments.benchmarks.execution_figure import execution_figure
from experiments.benchmarks.execution_population import measure_population
from experiments.benchmarks.execution_steps import measure_sandwich
from experiments.quickstart import experiment
from nas.allocator import keep_memory
from nas.provenance import provenance
from nas.report import drawing
from nas.rundir import write_bytes, write_json
from supernets.decoder.spec import Decoder

RESULTS = Path(__file__).parent.parent / "results"
COMMAND = "uv run python -m experiments.benchmarks.execution"

ROUNDS = 20
BATCH, TOKENS = 8, 128
NARROW, WIDE = DECODERS

MIDDLE = {
    "depth": (2,),
    "width": (1,),
    "heads": (0, 1, 2, 0, 1, 2),
    "ffn": (0, 1, 2, 3, 1, 2),
}
"""Which choices the middle subnet makes."""


def main() -> None:
    """Measures and records."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--rounds", type=positive, default=ROUNDS, help="runs of each case"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="where to write")
    parser.add_argument(
        "--wide",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also measure a supernet of twice the width",
    )
    options = parser.parse_args()
    load = os.getloadavg()[0]
    start()
    sizes = {
        size: measure(
            Subject(decoder=DECODERS[size], middle=MIDDLE, batch=BATCH, tokens=TOKENS),
            rounds=options.rounds,
        )
        for size in ((NARROW, WIDE) if options.wide else (NARROW,))
    }
    decoder = experiment.model
    assert isinstance(decoder, Decoder), "the quick start is about a decoder"
    population = measure_population(
        decoder,
        windows=experiment.search.examples,
        tokens=experiment.data.example[0],
        rounds=options.rounds,
    )
    results = {
        **about(load=load, rounds=options.rounds),
        "sizes": sizes,
        "population": population,
    }
    write_json(options.out / "execution.json", results)
    figure = execution_figure(sizes)
    write_bytes(options.out / "execution.png", drawing.to_png(figure))
    Console().print(*readme_rows(results), sep="\n", highlight=False, soft_wrap=True)


def start() -> None:
    """Readies the process, before JAX starts to work."""
    keep_memory()
    # Compilations that were done before would look as if they took no time.
    jax.config.update("jax_enable_compilation_cache", False)
    # Nothing may turn bfloat16 into float32 unseen.
    jax.config.update("jax_numpy_dtype_promotion", "strict")


def measure(subject: Subject, *, rounds: int) -> dict[str, Any]:
    """Measures one supernet: its subnets in every way, and its training step.

    Args:
        subject: The supernet.
        rounds: Timed runs of each case.
    """
    subnets = subject.subnets()
    supernet = Supernet(subject)
    low_precision = Supernet(subject, "bfloat16")
    largest = {"largest": subnets["largest"]}
    return {
        "decoder": dataclasses.asdict(subject.decoder),
        "batch": subject.batch,
        "tokens": subject.tokens,
        "subnets": {
            name: {"genotype": genotype.tolist(), **subject.costs(genotype)}
            for name, genotype in subnets.items()
        },
        **{k: measure_subnets(supernet, k, subnets, rounds=rounds) for k in KINDS},
        "training_bfloat16": measure_subnets(
            low_precision, "training", largest, rounds=rounds
        ),
        "sandwich": measure_sandwich(supernet, rounds=rounds),
    }


def about(*, load: float, rounds: int) -> dict[str, Any]:
    """Returns how and on what was measured.

    Args:
        load: Load of the machine beforehand, in busy processors.
        rounds: Timed runs of each case.
    """
    origin = provenance(command=COMMAND, seed=0, data_digest="")
    return {
        "command": COMMAND,
        "machine": {
            "processor": origin["processor"],
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "packages": origin["packages"],
            "backend": origin["backend"],
            "load_before": round(load, 2),
        },
        "git": origin["git"],
        "rounds": rounds,
    }


def readme_rows(results: Mapping[str, Any]) -> list[str]:
    """Returns the lines of the README's table of measured results."""
    narrow, *wide = results["sizes"].values()
    population = results["population"]
    sandwich, low = narrow["sandwich"], narrow["training_bfloat16"]["rows"][0]
    single = population["auto"]
    names = " / ".join(NAMED)
    found = {
        f"Switched forward pass, {names}": _ratios(narrow, "forward", "switched"),
        f"Switched training step, {names}": _ratios(narrow, "training", "switched"),
        **{
            f"The same at twice the width, {names}": _ratios(
                size, "training", "switched"
            )
            for size in wide
        },
        f"Masked training step, {names}": _ratios(narrow, "training", "masked"),
        "Switched training step in bfloat16, largest": _of_fixed(low["switched"]),
        "Sandwich step of four subnets": f"{sandwich['switched']['ms']:.0f} ms "
        f"switched, {_of_fixed(sandwich['switched'])}; "
        f"{sandwich['masked']['ratio']:.2f}x masked",
        "Compiling for training": _compiling(narrow["training"]),
        f"Evaluating {population['population']} subnets of the quick start": (
            f"{single['total_seconds']:.1f} s with one program, of which "
            f"{single['compile_seconds']:.1f} s compile it; "
            f"{population['extracted']['total_seconds']:.0f} s with a program for each "
            f"(scaled from {population['extracted_members']})"
        ),
    }
    return [f"| {what} | {value} |" for what, value in found.items()]


def _ratios(size: Mapping[str, Any], kind: str, execution: str) -> str:
    rows = {row["subnet"]: row for row in size[kind]["rows"]}
    ratios = " / ".join(f"{rows[n][execution]['ratio']:.2f}x" for n in NAMED)
    return f"{ratios} of `Fixed`"


def _of_fixed(found: Mapping[str, Any]) -> str:
    return f"{found['ratio']:.2f}x of `Fixed`"


def _compiling(kind: Mapping[str, Any]) -> str:
    shared = ", ".join(
        f"{kind['programs'][name]['compile_seconds']:.0f} s {name}"
        for name in reversed(EXECUTIONS)
    )
    own = sum(row[FIXED]["compile_seconds"] for row in kind["rows"]) / len(kind["rows"])
    return f"{shared}, once; {own:.1f} s `Fixed`, for each subnet"


if __name__ == "__main__":
    main()
