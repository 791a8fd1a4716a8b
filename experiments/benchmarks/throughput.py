"""Measures how well training uses a device: the sandwich step against a plain one.

    uv run python -m experiments.benchmarks.throughput

Trains a decoder of about 100 million parameters on random tokens, in bfloat16: by steps
of its largest subnet alone, and by sandwich steps of four subnets. Both take turns. For
each it tells tokens in a second, each pass counted, and model FLOPs utilisation: the
floating-point operations that the subnets of a step need (three times those of their
forward passes), over what a product of large matrices reaches in that time on the same
device. On a CPU give `--small`. Writes `experiments/results/throughput.json`.
"""

import argparse
import dataclasses
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from rich.console import Console

from experiments.benchmarks.arguments import positive
from nas import (
    Decoder,
    Experiment,
    LargestOnly,
    Phase,
    Sandwich,
    TokenShards,
    Training,
)
from nas.allocator import keep_memory
from nas.config import load_recipe
from nas.forecast import PASSES, device_flops
from nas.progress import progress
from nas.provenance import provenance
from nas.rundir import write_json
from nas.training.steps import train_steps
from supernets.losses.loss import Batch
from supernets.training import TrainState, initial_state

RESULTS = Path(__file__).parent.parent / "results"

COMMAND = "uv run python -m experiments.benchmarks.throughput"

WARM_UPS = 2

LARGE = Decoder(
    vocabulary=32_768,
    width=(512, 640, 768),
    heads=(4, 5, 6),
    ffn=(1024, 1536, 2048),
    depth=(8, 10, 12),
    head_dim=128,
)
"""A decoder of about 100 million parameters."""

SMALL = Decoder(width=(32, 64), heads=(1, 2), ffn=(64, 128), depth=(1, 2))
"""One for a CPU."""

PHASES = {
    "largest alone": Phase(policy=LargestOnly()),
    "sandwich": Phase(policy=Sandwich(random=2)),
}


def main() -> None:
    """Measures and records."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=120.0, help="of steps")
    parser.add_argument("--small", action="store_true", help="a model for a CPU")
    parser.add_argument("--batch", type=positive, help="windows in a step")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where it goes")
    options = parser.parse_args()
    keep_memory()
    console = Console(highlight=False, soft_wrap=True)
    experiment = setting(small=options.small, batch=options.batch)
    found = measure(experiment, options.seconds, console)
    write_json(options.results / "throughput.json", found)
    console.print(*readme_rows(found), sep="\n")


def setting(*, small: bool, batch: int | None) -> Experiment:
    """Returns the recipe for tokens with a decoder of about 100 million parameters.

    Args:
        small: Whether it is one of less than a million instead.
        batch: Windows in a step; as many as suit a large device if not given.
    """
    recipe = load_recipe("experiments.tokens_lm")
    model, tokens = (SMALL, 32) if small else (LARGE, 1024)
    data = TokenShards(path="", tokens=tokens, vocabulary=model.vocabulary)
    train = Training(
        steps=10_000,
        batch=batch or (8 if small else 32),
        phases=tuple(PHASES.values()),
        optimizer=recipe.train.optimizer,
        compute="bfloat16",
    )
    return dataclasses.replace(recipe, model=model, data=data, train=train)


def measure(experiment: Experiment, seconds: float, console: Console) -> dict[str, Any]:
    """Returns what was found.

    Args:
        experiment: Its phases are what takes turns.
        seconds: Of steps.
        console: Where progress is shown.
    """
    runs = [_Steps(experiment, phase) for phase in range(len(PHASES))]
    for _ in range(WARM_UPS):
        for run in runs:
            run.step()
    times: list[list[float]] = [[] for _ in runs]
    flops: list[list[float]] = [[] for _ in runs]
    began = time.monotonic()
    with progress(console, "throughput", round(seconds), "s") as update:
        while (passed := time.monotonic() - began) < seconds:
            for row, run in enumerate(runs):
                start = time.perf_counter()
                flops[row].append(run.step())
                times[row].append(time.perf_counter() - start)
            update(min(round(passed), round(seconds)))
    peak = device_flops(experiment.train.compute) * jax.device_count()
    origin = provenance(command=COMMAND, seed=0, data_digest="")
    space = experiment.model.space()
    example = experiment.data.example
    params = experiment.model.costs(space.largest[None], batch=1, example=example)
    stats = jax.local_devices()[0].memory_stats() or {}
    return {
        "command": COMMAND,
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        "processor": origin["processor"],
        "cores": os.cpu_count(),
        "packages": origin["packages"],
        "parameters": int(params["params"][0]),
        "batch": [experiment.train.batch, *example],
        "matrix_product_tflops": round(peak / 1e12, 3),
        "peak_memory_gb": round(stats.get("peak_bytes_in_use", 0) / 1e9, 3),
        "steps": {
            name: _figures(
                np.asarray(times[row]), np.asarray(flops[row]), runs[row], peak
            )
            for row, name in enumerate(PHASES)
        },
    }


class _Steps:
    """Runs one step after another of a phase.

    Args:
        experiment: Whose.
        phase: Number of the phase.
    """

    def __init__(self, experiment: Experiment, phase: int) -> None:
        self.plan, train = experiment.plan(), experiment.train
        self.batch_size, self.tokens = train.batch, experiment.data.example[0]
        supernet = experiment.model.build(rngs=nnx.Rngs(0))
        optimizer = train.optimizer.transform(train.steps)
        self.compiled = train_steps(experiment, supernet, optimizer, None)[phase]
        self.state: TrainState = initial_state(supernet, optimizer)
        self.numbers: Iterator[int] = iter(range(self.plan.starts[phase], train.steps))
        shape = (train.batch, *experiment.data.example)
        rng = np.random.default_rng(0)
        classes = experiment.data.classes
        tokens = jax.device_put(rng.integers(0, int(str(classes)), shape, np.int32))
        self.batch = Batch(tokens, tokens)
        self.passes = 1

    def step(self) -> float:
        """Takes a step; returns the operations that its subnets need."""
        number = next(self.numbers)
        draw = self.plan.step(number).draw
        self.state, metrics = self.compiled(self.state, self.batch, draw, number)
        jax.block_until_ready(metrics)
        trained = draw.genotypes[draw.weights > 0, 0]
        self.passes = len(trained)
        return 2 * PASSES * float(self.plan.cost(trained).sum()) * self.batch_size


def _figures(
    times: np.ndarray, flops: np.ndarray, run: _Steps, peak: float
) -> dict[str, Any]:
    tokens = run.passes * run.batch_size * run.tokens
    return {
        "steps": len(times),
        "milliseconds": round(1e3 * float(np.median(times)), 3),
        "tokens_per_second": round(tokens / float(np.median(times)), 1),
        "utilisation": round(float(np.median(flops / times)) / peak, 4),
    }


def readme_rows(results: dict[str, Any]) -> list[str]:
    """Returns the lines of the README's table of measured results."""
    return [
        f"| Training, {name} ({results['device']}) | "
        f"{found['tokens_per_second']:,.0f} tokens/s, {found['milliseconds']:.0f} ms, "
        f"{found['utilisation']:.0%} of what a matrix product reaches |"
        for name, found in results["steps"].items()
    ]


if __name__ == "__main__":
    main()
