"""Measures a step of a search by gradient against a step that trains the largest net.

    uv run python -m experiments.benchmarks.gradient_step

Both run on the same decoder, batch and device and take turns. Told are seconds (a low
quantile on a CPU, whose other work only adds time, else the median) and the peak of
memory that the compiler plans for each program: arguments, results and temporaries, and
what arguments and results share once. The search runs in each regime. The alternating
one takes two gradients, of two batches. On a CPU give `--size middle`. Writes
`experiments/results/gradient_step.json`.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from rich.console import Console

from experiments.benchmarks.arguments import positive
from nas import Decoder
from nas.provenance import provenance
from nas.rundir import write_json
from search.space import Genotypes
from supernets.gradient_search.network import mixed_network
from supernets.gradient_search.specs import Alternating, GradientSearch, Joint, TwoStage
from supernets.gradient_search.state import Batches
from supernets.gradient_search.step import make_search_step
from supernets.latency import summary
from supernets.losses.loss import Batch
from supernets.optimizers.adamw import AdamW
from supernets.policies.largest_only import LargestOnly
from supernets.policies.policy import Moment, Subnets
from supernets.training import initial_state, make_train_step

RESULTS = Path(__file__).parent.parent / "results"

COMMAND = "uv run python -m experiments.benchmarks.gradient_step"

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

MIDDLE = Decoder(
    width=(128, 192, 256), heads=(4, 6, 8), ffn=(512, 768, 1024), depth=(4, 5, 6)
)
"""One for two CPU cores."""

SMALL = Decoder(width=(32, 64), heads=(1, 2), ffn=(64, 128), depth=(1, 2))
"""One to try the benchmark."""

SIZES = {
    "large": (LARGE, 16, 1024),
    "middle": (MIDDLE, 8, 128),
    "small": (SMALL, 4, 32),
}
"""Model, sequences in a batch and tokens in a sequence."""

REGIMES = {"two-stage": TwoStage(), "joint": Joint(), "alternating": Alternating()}

Step = Callable[[], None]


def main() -> None:
    """Measures and records."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", choices=SIZES, default="large", help="of the model")
    parser.add_argument(
        "--rounds", type=positive, default=20, help="steps of each program"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="where it goes")
    options = parser.parse_args()
    found = measure(*SIZES[options.size], rounds=options.rounds)
    write_json(options.results / "gradient_step.json", found)
    Console(highlight=False, soft_wrap=True).print(*readme_rows(found), sep="\n")


def measure(model: Decoder, batch: int, tokens: int, *, rounds: int) -> dict[str, Any]:
    """Returns what was found.

    Args:
        model: What is searched.
        batch: Sequences in a batch.
        tokens: In a sequence.
        rounds: Steps of each program.
    """
    words = np.random.default_rng(0).integers(0, model.vocabulary, (batch, tokens + 1))
    windows = jnp.asarray(words, jnp.int32)
    data = Batch(windows[:, :-1], windows[:, 1:])
    made = {"training": _training(model, data)}
    made |= {name: _searching(model, data, name) for name in REGIMES}
    for _ in range(WARM_UPS):
        for step, _ in made.values():
            step()
    rng = np.random.default_rng(0)
    seconds = np.zeros((len(made), rounds))
    steps = [step for step, _ in made.values()]
    for column in range(rounds):
        for row in rng.permutation(len(steps)):
            start = time.perf_counter()
            steps[row]()
            seconds[row, column] = time.perf_counter() - start
    return {
        "command": COMMAND,
        "provenance": provenance(command=COMMAND, seed=0, data_digest=""),
        "seconds": dict(zip(made, summary(seconds).tolist(), strict=True)),
        "bytes": {name: peak for name, (_, peak) in made.items()},
    }


def readme_rows(results: Mapping[str, Any]) -> list[str]:
    """Returns the lines of the README's table of measured results."""
    each = []
    for name in REGIMES:
        slower = results["seconds"][name] / results["seconds"]["training"]
        more = results["bytes"][name] / results["bytes"]["training"]
        each.append(f"{name} {slower:.2f}x / {more:.2f}x")
    return [
        f"| **A step of the search by gradient**: `{COMMAND} --size middle` | "
        "[all figures](experiments/results/gradient_step.json) |",
        "| Time / peak memory, of a training step of the largest | "
        f"{', '.join(each)} |",
    ]


def _training(model: Decoder, data: Batch) -> tuple[Step, int]:
    """Returns a step of the largest network alone, and its memory in bytes."""
    space, policy = model.space(), LargestOnly()
    supernet = model.build(rngs=nnx.Rngs(0))
    optimizer = AdamW().transform(1000)
    draw = policy.draw(Subnets(space, _macs(model, data)), Moment(0, 0, 1000))
    program = make_train_step(supernet, space, optimizer, policy.slots(space))
    state = initial_state(supernet, optimizer)
    peak = _peak_bytes(program.lower(state, data, draw, 0))

    def step() -> None:
        nonlocal state
        state, metrics = program(state, data, draw, 0)
        jax.block_until_ready((state, metrics))

    return step, peak


def _searching(model: Decoder, data: Batch, regime: str) -> tuple[Step, int]:
    """Returns a step of a search, and its memory in bytes."""
    space = model.space()
    supernet = model.build(rngs=nnx.Rngs(0))
    spec = GradientSearch(regime=REGIMES[regime])
    price = _macs(model, data)
    limits = {"macs": 0.5 * float(price(space.largest[None])[0])}
    program = make_search_step(mixed_network(supernet), space, spec, {"macs": price})
    params = nnx.state(supernet, nnx.Param)
    state = program.initial_state(params, key=jax.random.key(0))
    batches = Batches(architecture=data, weights=data)
    key = jax.random.key(1)
    peak = _peak_bytes(program.lower(state, batches, limits, 0, key=key))

    def step() -> None:
        nonlocal state
        state, metrics = program(state, batches, limits, 0, key=key)
        jax.block_until_ready((state, metrics))

    return step, peak


def _macs(model: Decoder, data: Batch) -> Callable[[Genotypes], np.ndarray]:
    batch, tokens = data.inputs.shape
    return lambda g: model.costs(g, batch=batch, example=(tokens,))["macs"]


def _peak_bytes(lowered: jax.stages.Lowered) -> int:
    analysis = lowered.compile().memory_analysis()
    if analysis is None:
        raise NotImplementedError("this backend does not tell what a program needs")
    held = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    return held + analysis.temp_size_in_bytes - analysis.alias_size_in_bytes


if __name__ == "__main__":
    main()
