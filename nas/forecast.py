"""What a training will take, told before it is begun."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nas.errors import RunError
from nas.experiment import Experiment
from supernets.phases import Plan

if TYPE_CHECKING:
    import jax

PROBES = 64
"""Steps of a plan whose mean stands for all of them."""

PASSES = 3
"""Forward passes that a pass forward and backward is worth: two products of matrices
give the gradients of one."""

SIDE, REPEATS = 1024, 5
"""Of the matrices whose product tells how fast a device is, and how often."""


class Work(NamedTuple):
    """The mean work of a step.

    Attributes:
        passes: Subnets that are trained.
        macs: Multiply-accumulates of their forward passes, for one example each.
    """

    passes: float
    macs: float


def mean_work(plan: Plan, numbers: Sequence[int] | None = None) -> Work:
    """Returns the mean work of a step.

    Args:
        plan: The training.
        numbers: Of the steps; all of them if not given.
    """
    chosen = range(plan.steps) if numbers is None else numbers
    draws = [plan.step(number).draw for number in chosen]
    trained = [draw.genotypes[draw.weights > 0, 0] for draw in draws]
    counts = [len(rows) for rows in trained]
    macs = float(plan.cost(np.concatenate(trained)).sum())
    return Work(passes=float(np.mean(counts)), macs=macs / len(draws))


class Forecast(NamedTuple):
    """What a training takes at least.

    Attributes:
        step_flops: Floating-point operations of a step's matrix products, on average.
        examples: That subnets learn from in the whole training; each pass counts.
    """

    step_flops: float
    examples: float


def forecast(experiment: Experiment) -> Forecast:
    """Returns what a training takes, by its plan; nothing is compiled."""
    plan, train = experiment.plan(), experiment.train
    numbers = np.linspace(0, train.steps - 1, min(PROBES, train.steps))
    work = mean_work(plan, [int(number) for number in numbers])
    return Forecast(
        step_flops=2 * PASSES * work.macs * train.batch,
        examples=work.passes * train.batch * train.steps,
    )


class StepMemory(NamedTuple):
    """What the compiled step of the last phase holds on each device, in bytes.

    Attributes:
        arguments: State and batch.
        temporaries: Activations, gradients, and what else is needed for a while.
        peak: The most of all of it at any one time.
    """

    arguments: int
    temporaries: int
    peak: int


def step_memory(
    experiment: Experiment, devices: "Sequence[jax.Device] | None" = None
) -> StepMemory:
    """Compiles the step of the last phase, and returns what it holds.

    Args:
        experiment: Which training.
        devices: That train; those that are here if not given.

    Raises:
        UsageError: If the devices do not fit the axes, or these the supernet.
        RunError: If the backend does not tell.
    """
    from nas.dry import lower_step

    found = lower_step(experiment, devices).compile().memory_analysis()
    if found is None:
        raise RunError("this backend does not tell what memory a program takes")
    return StepMemory(
        found.argument_size_in_bytes,
        found.temp_size_in_bytes,
        found.peak_memory_in_bytes,
    )


def device_flops(compute: str) -> float:
    """Returns the operations in a second of a matrix product on one device here.

    Takes well below a second. The best of a few products of square matrices.

    Args:
        compute: Type of the numbers, as "float32".
    """
    import jax

    matrix = jax.numpy.ones((SIDE, SIDE), compute)
    product = jax.jit(jax.numpy.matmul).lower(matrix, matrix).compile()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(product(matrix, matrix))
        seconds.append(time.perf_counter() - start)
    return 2 * SIDE**3 / min(seconds)
