"""Compares the supernet's subnets and its training step with eager PyTorch.

    uv run python -m experiments.benchmarks.against_pytorch

Writes `experiments/results/against_pytorch.json` and `against_pytorch.png`. Nothing
else should be running. The first run builds an environment with PyTorch in the user's
cache directory, which needs a network and 5 GB.

Both sides compute the same function of the same weights, which is checked before
anything is timed. Each has a process of its own; they are called in turn, in rounds
that are shuffled anew, so whatever slows the machine down slows both.
"""

import argparse
import dataclasses
import os
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from experiments.benchmarks import environments
from experiments.benchmarks.arguments import positive
from experiments.benchmarks.peer import PAIRS, Case, Peer, Values
from experiments.benchmarks.ratios import Row, Times, ratios_figure
from nas.provenance import git_revision, processor
from nas.report import drawing
from nas.rundir import write_bytes, write_json
from supernets.decoder.spec import Decoder

RESULTS = Path(__file__).parent.parent / "results"
COMMAND = "uv run python -m experiments.benchmarks.against_pytorch"

PYTORCH = "2.13.0"
THREADS = 2
WARMUPS = 2
ROUNDS = 20

NAMED = ("largest", "middle", "smallest")

DECODERS = {
    "width 256": Decoder(
        width=(128, 192, 256),
        heads=(4, 6, 8),
        ffn=(256, 512, 768, 1024),
        depth=(3, 4, 5, 6),
        gated=False,
    ),
    "width 512": Decoder(
        width=(256, 384, 512),
        heads=(8, 12, 16),
        ffn=(512, 1024, 1536, 2048),
        depth=(3, 4, 5, 6),
        gated=False,
    ),
}

AGREEMENT = {"float32": 1e-4, "bfloat16": 0.05}
"""Largest difference allowed, relative to the largest value of the same array."""

REST_SECONDS = 0.03
"""Pause in front of a call: PyTorch's threads spin for up to 10 ms after their work.

Where nothing else runs, that they spin makes PyTorch 1.2 to 2 times as fast, so it is
not forbidden. Where something does, it makes PyTorch ten times as slow: measurements
count only on a quiet machine, and ``OMP_WAIT_POLICY=PASSIVE`` is for trying things.
"""

ROWS = tuple(
    Case(kind, subnet, precision)
    for precision in ("float32", "bfloat16")
    for kind, subnets in (
        ("forward", ("largest", "middle", "smallest")),
        ("training", ("largest", "middle", "smallest")),
        ("sandwich", ("four subnets",)),
    )
    for subnet in subnets
)
"""What is reported; a sandwich step is measured with each of `PAIRS`."""


def main() -> None:
    """Measures and records."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--rounds", type=positive, default=ROUNDS, help="calls of each case"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="where to write")
    parser.add_argument(
        "--sizes",
        nargs="+",
        choices=tuple(DECODERS),
        default=tuple(DECODERS),
        help="supernets to compare",
    )
    options = parser.parse_args()
    python = environment()
    load = os.getloadavg()[0]
    # Both sides inherit it, and neither counts processors that it may not use.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    compared = {
        size: compare(DECODERS[size], python, rounds=options.rounds)
        for size in options.sizes
    }
    results = summary(compared, rounds=options.rounds, load=load)
    write_json(options.out / "against_pytorch.json", results)
    panels = {f"Decoder of {size}": found.rows for size, found in compared.items()}
    figure = ratios_figure(panels, title=f"Against eager PyTorch {PYTORCH} on a CPU")
    write_bytes(options.out / "against_pytorch.png", drawing.to_png(figure))
    Console().print_json(data=results["sizes"])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """What was found for one supernet.

    Attributes:
        decoder: The supernet.
        about: What each side runs on.
        difference: For each precision the largest difference between the sides,
            relative to the largest value of the same array.
        rows: The times.
    """

    decoder: Decoder
    about: Mapping[str, Mapping[str, Any]]
    difference: Mapping[str, float]
    rows: Sequence[Row]


def compare(decoder: Decoder, python: Path, *, rounds: int) -> Comparison:
    """Runs both sides on one supernet.

    Args:
        decoder: The supernet.
        python: Interpreter of the environment with PyTorch.
        rounds: Timed calls of each case, on each side.

    Raises:
        RuntimeError: If the sides compute different things, or one breaks.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_json(folder / "decoder.json", dataclasses.asdict(decoder))
        with _side("JAX", Path(sys.executable), folder, "jax_peer", {}) as ours:
            # It answers once it has written what the other side reads.
            about = {"ours": ours.describe()}
            variables = {"OMP_NUM_THREADS": str(THREADS)}
            with _side("PyTorch", python, folder, "pytorch_peer", variables) as theirs:
                about["theirs"] = theirs.describe()
                sides = {"ours": ours, "theirs": theirs}
                missing = {row: unavailable(sides, row) for row in ROWS}
                ready = [
                    case for row in ROWS if not missing[row] for case in members(row)
                ]
                # Again, since the first steps follow from updates that are still small.
                again = [case for case in ready if case.kind == "sandwich"]
                difference = verify(sides, [*ready, *again], folder)
                seconds = alternate(sides, ready, rounds)
    rows = [
        Row(case=row, unavailable=missing[row])
        if missing[row]
        else Row(case=row, times=_times(seconds, members(row)))
        for row in ROWS
    ]
    return Comparison(decoder=decoder, about=about, difference=difference, rows=rows)


def members(row: Case) -> list[Case]:
    """Returns the cases that a row is the mean of."""
    if row.kind != "sandwich":
        return [row]
    return [dataclasses.replace(row, subnet=pair) for pair in PAIRS]


def unavailable(sides: Mapping[str, Peer], row: Case) -> dict[str, str]:
    """Readies a row; returns the reason of each side that cannot run it."""
    reasons = {
        name: [side.prepare(case) for case in members(row)]
        for name, side in sides.items()
    }
    return {name: found[0] for name, found in reasons.items() if found[0]}


def verify(
    sides: Mapping[str, Peer], cases: Sequence[Case], folder: Path
) -> dict[str, float]:
    """Runs every case on both sides and returns the largest difference by precision.

    Raises:
        RuntimeError: If a difference exceeds `AGREEMENT`.
    """
    largest: dict[str, float] = {}
    for case in cases:
        ours, theirs = (s.values(case, folder / "values.npz") for s in sides.values())
        array, found = difference(ours, theirs)
        # Written so that NaN is refused too.
        if not found <= AGREEMENT[case.precision]:
            raise RuntimeError(
                f"nothing was timed: in {case} the sides differ by {found:.1e} of the "
                f"largest value of {array!r}, and {AGREEMENT[case.precision]:.0e} is "
                "allowed"
            )
        largest[case.precision] = max(found, largest.get(case.precision, 0.0))
    return largest


def difference(ours: Values, theirs: Values) -> tuple[str, float]:
    """Returns which array differs most, and by how much of its largest value.

    Raises:
        RuntimeError: If the sides do not return the same arrays.
    """
    shapes = [{n: a.shape for n, a in side.items()} for side in (ours, theirs)]
    if shapes[0] != shapes[1]:
        raise RuntimeError(f"the sides return different arrays: {shapes}")
    found = {}
    for name, array in ours.items():
        gap = np.max(np.abs(array - theirs[name]))
        found[name] = float(gap / max(np.max(np.abs(array)), np.finfo("f4").tiny))
    return max(found.items(), key=lambda pair: (np.isnan(pair[1]), pair[1]))


def alternate(
    sides: Mapping[str, Peer], cases: Sequence[Case], rounds: int
) -> dict[Case, dict[str, list[float]]]:
    """Returns the seconds of every call, after `WARMUPS` rounds that do not count.

    In each round every case runs once on each side, in random order.
    """
    order = random.Random(0)
    seconds = {case: {name: [] for name in sides} for case in cases}
    shown = Console(stderr=True)
    for number in track(range(WARMUPS + rounds), "Rounds", console=shown):
        for case in order.sample(cases, len(cases)):
            for name in order.sample(list(sides), len(sides)):
                time.sleep(REST_SECONDS)
                took = sides[name].seconds(case)
                if number >= WARMUPS:
                    seconds[case][name].append(took)
    return seconds


def summary(
    compared: Mapping[str, Comparison], *, rounds: int, load: float
) -> dict[str, Any]:
    """Returns what is stored.

    Args:
        compared: What was found, by supernet.
        rounds: Timed calls of each case, on each side.
        load: Load of the machine beforehand, in busy processors.
    """
    about = next(iter(compared.values())).about
    return {
        "command": COMMAND,
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "threads": THREADS,
            "load_before": round(load, 2),
            **about,
        },
        "git": git_revision(),
        "rounds": rounds,
        "sizes": {
            size: {
                "decoder": dataclasses.asdict(found.decoder),
                "largest_difference": found.difference,
                "rows": [row.to_json() for row in found.rows],
            }
            for size, found in compared.items()
        },
    }


def environment() -> Path:
    """Returns the interpreter of an environment with PyTorch, built if there is none.

    Raises:
        SystemExit: If it cannot be built.
    """
    needs = "Building it takes uv, a network and 5 GB."
    return environments.environment(
        "PyTorch", package="torch", version=PYTORCH, needs=needs
    )


def _side(
    name: str, python: Path, folder: Path, module: str, variables: Mapping[str, str]
) -> Peer:
    line = [str(python), "-m", f"experiments.benchmarks.{module}", str(folder)]
    return Peer(name, line, variables)


def _times(
    seconds: Mapping[Case, Mapping[str, list[float]]], cases: Sequence[Case]
) -> Times:
    ours, theirs = (
        np.array([seconds[case][side] for case in cases]) for side in ("ours", "theirs")
    )
    return Times.of(ours, theirs)


def readme_rows(results: Mapping[str, Any]) -> list[str]:
    """Returns the lines of the README's table of measured results."""
    rows = []
    for size in results["sizes"].values():
        ratios = {
            (row["kind"], row["subnet"], row["precision"]): f"{row['ratio']:.2f}x"
            for row in size["rows"]
            if "ratio" in row
        }
        for kind, name in (("forward", "Forward pass"), ("training", "Training step")):
            told = [ratios[kind, subnet, "float32"] for subnet in NAMED]
            rows.append(f"| {name}, {' / '.join(NAMED)} | {' / '.join(told)} |")
        told = [
            f"{ratio} in {precision}"
            for (kind, _, precision), ratio in ratios.items()
            if kind == "sandwich"
        ]
        rows.append(f"| Sandwich step of four subnets | {', '.join(told)} |")
    return rows


if __name__ == "__main__":
    main()
