"""Timing programs in turn, and how much longer one takes than another."""

import dataclasses
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jaxtyping import PyTree
from rich.console import Console
from rich.progress import track

WARM_UPS = 2

BYTES_PER_MEGABYTE = 1e6

Run = Callable[[], object]
"""Runs to the end of the work, not only to its start."""

Samples = dict[str, list[float]]
"""Milliseconds of every round, by the way in which a case ran."""

Case = TypeVar("Case")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Program:
    """A compiled program.

    Attributes:
        call: Runs it on operands of the shapes it was compiled for.
        compile_seconds: From the Python function to the program.
        temporary_mb: Memory it takes beside operands and results, in 10^6 bytes; 0
            where the compiler does not tell.
    """

    call: Callable[..., Any]
    compile_seconds: float
    temporary_mb: float

    @classmethod
    def of(
        cls,
        function: Callable[..., PyTree],
        *operands: PyTree,
        donated: tuple[int, ...] = (),
    ) -> "Program":
        """Compiles a function for some operands."""
        start = time.perf_counter()
        jitted = jax.jit(function, donate_argnums=donated)
        compiled = jitted.lower(*operands).compile()
        seconds = time.perf_counter() - start
        memory = compiled.memory_analysis()
        temporary = getattr(memory, "temp_size_in_bytes", 0)
        return cls(
            call=compiled,
            compile_seconds=seconds,
            temporary_mb=temporary / BYTES_PER_MEGABYTE,
        )

    def bound(self, *operands: PyTree) -> Run:
        """Returns a run on these operands."""
        return lambda: jax.block_until_ready(self.call(*operands))

    def to_json(self) -> dict[str, float]:
        """Returns what it took to have the program."""
        return {
            "compile_seconds": round(self.compile_seconds, 3),
            "temporary_mb": round(self.temporary_mb, 2),
        }


def alternate(
    cases: Mapping[Case, Mapping[str, Run]], *, rounds: int, label: str
) -> dict[Case, Samples]:
    """Returns the milliseconds of every run, after `WARM_UPS` rounds that do not count.

    In a round every case runs once in each way, one right after the other, in random
    order: whatever slows the machine down slows all ways alike.

    Args:
        cases: The ways to run each case.
        rounds: Timed runs of each.
        label: What is timed, for the progress bar.
    """
    order = random.Random(0)
    samples: dict[Case, Samples] = {}
    for case, ways in cases.items():
        samples[case] = {way: [] for way in ways}
    shown = Console(stderr=True)
    for number in track(range(WARM_UPS + rounds), label, console=shown):
        for case in order.sample(list(cases), len(cases)):
            for way in order.sample(list(cases[case]), len(cases[case])):
                start = time.perf_counter()
                cases[case][way]()
                if number >= WARM_UPS:
                    milliseconds = 1e3 * (time.perf_counter() - start)
                    samples[case][way].append(milliseconds)
    return samples


def against(ours: Sequence[float], reference: Sequence[float]) -> dict[str, Any]:
    """Returns our median, and how many times that of a reference we take.

    The ratio is the median over rounds of the ratio within a round, with its quartiles.
    """
    ratios = np.asarray(ours) / np.asarray(reference)
    low, middle, high = (
        round(float(q), 3) for q in np.percentile(ratios, (25, 50, 75))
    )
    return {"ms": median(ours), "ratio": middle, "quartiles": [low, high]}


def median(milliseconds: Sequence[float]) -> float:
    """Returns the median, rounded to microseconds."""
    return round(float(np.median(milliseconds)), 3)
