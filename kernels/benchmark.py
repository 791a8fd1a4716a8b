"""Times every way to run an elastic operation against `Fixed` at the same size.

    python -m kernels.benchmark [--rounds N] [--out FILE.json]

One program of traced sizes serves all active sizes; `Fixed` has a program for each.
In a round each case runs once in every way, in random order, so whatever slows the
machine down slows all of them. What is reported are medians over rounds.
"""

import argparse
import dataclasses
import functools
import json
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import numpy as np
from jaxtyping import Array, Float

from kernels import dispatch
from kernels.attention import AttentionWeights, self_attention
from kernels.extents import Execution, Fixed, Indexed
from kernels.feed_forward import FeedForward, FeedForwardWeights, feed_forward
from kernels.linear import matmul
from kernels.normalization import RmsNorm
from kernels.operation import Call, Extents, Sizes, Tree
from kernels.residual import residual

Direction = Literal["forward", "training"]
"""Forward, or forward with the gradients of input and weights."""

EXECUTIONS: tuple[Execution, ...] = ("masked", "switched", "pallas")
FIXED = "fixed"

ROUNDS = 20
WARM_UPS = 3
HEAD_DIM = 32

Rows = Float[Array, "rows _"]
Picked = tuple[np.int32, ...]
"""Which choice of each extent."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """An operation at some size.

    Attributes:
        name: What it is called in the table.
        apply: The operation, of extents, input and weights.
        choices: Sizes of each extent, ascending; a single one is `Fixed`.
        rows: Rows of the input, which has the features of the first extent.
        weights: Full-size weights.
    """

    name: str
    apply: Callable[[Extents, Rows, Tree], Rows]
    choices: tuple[Sizes, ...]
    rows: int
    weights: Tree

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of input and weights."""
        return jax.tree.leaves(self.weights)[0].dtype

    @property
    def picks(self) -> dict[str, Picked]:
        """The active sizes that are timed, as indices into the choices."""
        last = [len(sizes) - 1 for sizes in self.choices]
        wanted = {"largest": last, "middle": [n // 2 for n in last], "smallest": None}
        return {
            name: tuple(map(np.int32, picked or [0] * len(last)))
            for name, picked in wanted.items()
        }

    def sizes(self, picked: Picked) -> Sizes:
        """Returns the active sizes of a pick."""
        return tuple(c[i] for c, i in zip(self.choices, picked, strict=True))

    def traced(self, execution: Execution, picked: Sequence[Array]) -> Extents:
        """Returns extents that serve every pick."""
        return tuple(
            Fixed(sizes[0]) if len(sizes) == 1 else Indexed(index, sizes, execution)
            for sizes, index in zip(self.choices, picked, strict=True)
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of one subject, in one direction, at one active size.

    Attributes:
        operation: Name of the subject.
        rows: Rows of its input.
        full: Full sizes.
        active: Active sizes.
        dtype: The type of input and weights.
        direction: Whether gradients are included.
        milliseconds: Median of each way, ``fixed`` among them.
        ratio: Median over rounds of a way's time, divided by that of ``fixed``.
        compile_seconds: Of each way's program; one of traced sizes serves all sizes.
        refused: Why an execution does not run here.
    """

    operation: str
    rows: int
    full: Sizes
    active: Sizes
    dtype: str
    direction: Direction
    milliseconds: Mapping[str, float]
    ratio: Mapping[str, float]
    compile_seconds: Mapping[str, float]
    refused: Mapping[str, str]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints the table and writes JSON on request."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="calls of each case")
    parser.add_argument("--out", type=Path, help="where to write JSON")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {options.rounds}")
    rows = measure(subjects(), rounds=options.rounds)
    sys.stdout.write(table(rows))
    if options.out is not None:
        options.out.write_text(json.dumps(report(rows, options.rounds), indent=1))


def subjects() -> list[Subject]:
    """Returns what is timed: a transformer's operations at two widths, two types."""
    return [
        subject
        for width, dtype in ((256, "float32"), (512, "float32"), (256, "bfloat16"))
        for subject in operations(width, rows=1024, tokens=128, dtype=dtype)
    ]


def operations(width: int, *, rows: int, tokens: int, dtype: str) -> list[Subject]:
    """Returns every operation for a model width.

    Features are elastic in the product alone: in a network the width is static within
    each branch (`supernets.execution`), and what a layer chooses is switched.

    Args:
        width: Full features, a multiple of 4 heads of `HEAD_DIM`.
        rows: Rows of the input, a multiple of ``tokens``.
        tokens: Length of a sequence.
        dtype: The type of input and weights.
    """
    features = tuple(width * part // 4 for part in (1, 2, 3, 4))
    hidden = tuple(width * part for part in (1, 2, 3, 4))
    heads = tuple(size // HEAD_DIM for size in features)
    elastic, only = (features, hidden), ((width,), hidden)
    into, out = (_normal(s, dtype) for s in ((width, 4 * width), (4 * width, width)))
    query, output = (
        _normal(shape, dtype)
        for shape in ((width, heads[-1], HEAD_DIM), (heads[-1], HEAD_DIM, width))
    )
    attention = AttentionWeights(query, query, query, output)
    attend = functools.partial(_attention, tokens)
    plain, gated = FeedForwardWeights(into, out), FeedForwardWeights(into, out, into)
    unit = (_normal((width,), dtype), plain)
    described = (
        ("matmul", _matmul, elastic, into),
        ("FFN", _feed_forward, only, plain),
        ("gated FFN", _feed_forward, only, gated),
        ("attention", attend, ((width,), heads), attention),
        ("x + FFN(RMSNorm(x))", _residual, only, unit),
    )
    return [
        Subject(name=name, apply=apply, choices=choices, rows=rows, weights=weights)
        for name, apply, choices, weights in described
    ]


def measure(subjects: Sequence[Subject], *, rounds: int) -> list[Row]:
    """Times every subject, in both directions and at every active size."""
    rows: list[Row] = []
    for subject in subjects:
        refused: dict[str, str] = {
            execution: reason
            for execution in EXECUTIONS
            if (reason := refusal(subject, execution))
        }
        for direction in get_args(Direction):
            rows += _measured(subject, direction, refused, rounds)
    return rows


def refusal(subject: Subject, execution: Execution) -> str | None:
    """Returns why an execution does not run a subject here, or None if it does."""

    def run(picked: tuple[Array, ...], x: Rows, weights: Tree) -> Rows:
        return subject.apply(subject.traced(execution, picked), x, weights)

    x = _normal((subject.rows, subject.choices[0][-1]), subject.dtype)
    try:
        jax.eval_shape(run, subject.picks["largest"], x, subject.weights)
    except dispatch.ExecutionError as error:
        return str(error)
    return None


def table(rows: Sequence[Row]) -> str:
    """Returns the measurements as aligned text: milliseconds, and ratios to `Fixed`."""
    words = ("operation", "type", "pass", "full", "active")
    lines = [(*words, "Fixed ms", *EXECUTIONS), *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = []
    for line in lines:
        cells = list(zip(line, widths, strict=True))
        named = [cell.ljust(width) for cell, width in cells[: len(words)]]
        counted = [cell.rjust(width) for cell, width in cells[len(words) :]]
        text.append("  ".join([*named, *counted]))
    reasons = dict.fromkeys(why for row in rows for why in row.refused.values())
    return "\n".join([*text, *reasons, ""])


def report(rows: Sequence[Row], rounds: int) -> dict[str, Any]:
    """Returns the measurements and the machine as JSON."""
    return {
        "command": "python -m kernels.benchmark",
        "machine": {
            "platform": platform.platform(),
            "backend": jax.default_backend(),
            "devices": [device.device_kind for device in jax.devices()],
            "jax": jax.__version__,
        },
        "rounds": rounds,
        "rows": [dataclasses.asdict(row) for row in rows],
    }


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.operation,
        row.dtype,
        row.direction,
        " x ".join(map(str, row.full)),
        " x ".join(map(str, row.active)),
        f"{row.milliseconds[FIXED]:.3f}",
        *(f"{row.ratio[n]:.2f}x" if n in row.ratio else "-" for n in EXECUTIONS),
    )


def _measured(
    subject: Subject, direction: Direction, refused: Mapping[str, str], rounds: int
) -> list[Row]:
    """Times a subject in one direction, at all active sizes alternately."""
    traced = {
        execution: _Program(subject, direction, execution)
        for execution in EXECUTIONS
        if execution not in refused
    }
    programs = {
        picked: {FIXED: _Program(subject, direction, picked), **traced}
        for picked in subject.picks.values()
    }
    samples = _alternate(programs, rounds)
    return [
        Row(
            operation=subject.name,
            rows=subject.rows,
            full=subject.sizes(subject.picks["largest"]),
            active=subject.sizes(picked),
            dtype=subject.dtype.name,
            direction=direction,
            milliseconds={n: 1e3 * statistics.median(s) for n, s in taken.items()},
            ratio={n: _ratio(taken[n], taken[FIXED]) for n in traced},
            compile_seconds={n: p.compile_seconds for n, p in ways.items()},
            refused=refused,
        )
        for (picked, ways), taken in zip(programs.items(), samples, strict=True)
    ]


class _Program:
    """A compiled program with its data: of one pick, or of an execution for all."""

    def __init__(
        self, subject: Subject, direction: Direction, way: Execution | Picked
    ) -> None:
        picked = subject.picks["largest"] if isinstance(way, str) else way
        sizes = subject.sizes(picked)

        def forward(picked: tuple[Array, ...], x: Rows, weights: Tree) -> Rows:
            if isinstance(way, str):
                return subject.apply(subject.traced(way, picked), x, weights)
            return subject.apply(tuple(map(Fixed, sizes)), x, weights)

        def training(
            picked: tuple[Array, ...], x: Rows, weights: Tree, gradient: Rows
        ) -> Tree:
            y, pull = jax.vjp(functools.partial(forward, picked), x, weights)
            return y, pull(gradient)

        x = _normal((subject.rows, sizes[0]), subject.dtype)
        data = (x, subject.weights)
        run: Callable[..., Tree] = forward
        if direction == "training":
            y = jax.eval_shape(forward, picked, *data)
            run, data = training, (*data, _normal(y.shape, y.dtype))
        start = time.perf_counter()
        self._program = jax.jit(run).lower(picked, *data).compile()
        self.compile_seconds = time.perf_counter() - start
        self._data = data

    def __call__(self, picked: tuple[Array, ...]) -> Tree:
        """Runs to the end."""
        return jax.block_until_ready(self._program(picked, *self._data))


def _alternate(
    programs: Mapping[Picked, Mapping[str, _Program]], rounds: int
) -> list[dict[str, list[float]]]:
    """Returns seconds by way, for each pick."""
    order = random.Random(0)
    samples: list[dict[str, list[float]]] = []
    cases = []
    for picked, ways in programs.items():
        samples.append({way: [] for way in ways})
        cases.append((jax.device_put(picked), ways, samples[-1]))
    for number in range(WARM_UPS + rounds):
        for picked, ways, taken in order.sample(cases, len(cases)):
            for way in order.sample(list(ways), len(ways)):
                start = time.perf_counter()
                ways[way](picked)
                if number >= WARM_UPS:
                    taken[way].append(time.perf_counter() - start)
    return samples


def _ratio(ours: Sequence[float], fixed: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, fixed, strict=True))


def _normal(shape: tuple[int, ...], dtype: str | np.dtype[Any]) -> Array:
    values = np.random.default_rng(0).normal(scale=shape[0] ** -0.5, size=shape)
    return jax.device_put(values.astype(jax.dtypes.canonicalize_dtype(dtype)))


def _matmul(extents: Extents, x: Rows, weights: Array) -> Rows:
    inputs, outputs = extents
    return matmul(x, weights, inputs, outputs)


def _feed_forward(extents: Extents, x: Rows, weights: FeedForwardWeights) -> Rows:
    features, hidden = extents
    return feed_forward(x, weights, features, hidden)


def _attention(
    tokens: int, extents: Extents, x: Rows, weights: AttentionWeights
) -> Rows:
    features, heads = extents
    return self_attention(x, weights, features, heads, tokens=tokens)


def _residual(
    extents: Extents, x: Rows, weights: tuple[Array, FeedForwardWeights]
) -> Rows:
    norm = Call(RmsNorm(), extents[:1], weights[0])
    return dispatch.run(residual(norm, Call(FeedForward(), extents, weights[1])), x)


if __name__ == "__main__":
    main()
