"""The one place that decides how an operation runs on the extents it is given.

`Fixed` extents alone are sliced. Where one is `Mixed`, weights are masked softly. Where
sizes are traced (`Indexed`), there are three ways:

============  ========================================  ==============================
execution     how                                       ``"auto"`` takes it
============  ========================================  ==============================
``switched``  one of several bodies of static size      for few bodies that are worth it
``masked``    full size with weights masked to zero     otherwise
``pallas``    kernels that skip inactive tiles          never: not yet timed on a device
============  ========================================  ==============================

Under `jax.vmap` over subnets a switch runs masked (see `kernels.switched`). Devices
that share an operation run their parts of it in these ways (see `kernels.parallel`).
The environment variable ``NAS_EXECUTION`` forces one way on every operation, for
debugging.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple, get_args

from jaxtyping import Array

from kernels import parallel
from kernels.executions import Execution, ExecutionError
from kernels.extents import Fixed, Indexed, Mixed
from kernels.operation import Call, Extents, static
from kernels.switched import bodies, switched

VARIABLE = "NAS_EXECUTION"

MOST_BODIES = 16
"""Bodies of a switch: each is compiled, forward and backward."""

LEAST_SAVED = 2**16
"""Multiply-accumulates that a switch must save on average: for less, entering a body
and padding what it returns is not worth it (`python -m kernels.benchmark`)."""


def run(call: Call, x: Array) -> Array:
    """Runs an operation on its input as its extents say.

    Args:
        call: The operation, an extent for each of its elastic dimensions, and weights.
        x: The input: sliced to `Fixed` extents, else as wide as the largest choice.

    Returns:
        Values on the extents: sliced for `Fixed`, else zero where inactive.

    Raises:
        ExecutionError: If a forced execution does not apply.
    """
    operation, extents, weights = call
    if parallel.splits(call):
        return parallel.run(call, x, run)
    if all(isinstance(extent, Fixed) for extent in extents):
        sizes = tuple(e.size for e in extents if isinstance(e, Fixed))
        return static(operation, sizes, x, weights)
    if any(isinstance(extent, Mixed) for extent in extents):
        return operation.masked(extents, x, weights)
    how, why = choose(call, x)
    _record(Decision(operation.name, how, why))
    if how == "masked":
        return operation.masked(extents, x, weights)
    if how == "pallas":
        return operation.tiled(extents, x, weights)
    return switched(operation, extents, x, weights)


def choose(call: Call, x: Array) -> tuple[Execution, str]:
    """Returns how an operation runs on traced sizes, and why.

    Raises:
        ExecutionError: If a forced execution does not apply, or there is none such.
    """
    operation, extents, weights = call
    asked = _asked(extents)
    too_many = _too_many_bodies(extents)
    refused = {"masked": None, "switched": too_many}
    if asked == "pallas":
        refused["pallas"] = parallel.refusal() or operation.refuses_tiles(x, weights)
    if asked != "auto":
        if reason := refused[asked]:
            raise ExecutionError(
                f"execution {asked!r} does not apply to {operation.name}: "
                f"{reason}; use 'auto', which takes what applies"
            )
        return asked, "asked for"
    if too_many:
        return "masked", f"not switched: {too_many}"
    if reason := _not_worth_switching(call, x):
        return "masked", f"not switched: {reason}"
    return "switched", _gain(call, x)


class Decision(NamedTuple):
    """How an operation on traced sizes runs, and why."""

    operation: str
    execution: Execution
    reason: str


_recorders: list[list[Decision]] = []


@contextlib.contextmanager
def recorded() -> Iterator[list[Decision]]:
    """Collects the decisions made while programs are traced inside the block."""
    made: list[Decision] = []
    _recorders.append(made)
    try:
        yield made
    finally:
        # By identity: lists of the same decisions are equal.
        _recorders[:] = [each for each in _recorders if each is not made]


def _record(decision: Decision) -> None:
    for recorder in _recorders:
        recorder.append(decision)


def forced(execution: Execution) -> Execution:
    """Returns what the environment forces, or else what is given.

    Raises:
        ExecutionError: If the environment names no execution.
    """
    name = os.environ.get(VARIABLE)
    if not name:
        return execution
    known: tuple[Execution, ...] = get_args(Execution)
    for each in known:
        if each == name:
            return each
    raise ExecutionError(f"{VARIABLE} is {name!r}; there are {', '.join(known)}")


def _asked(extents: Extents) -> Execution:
    """Returns what the environment forces, or else what the extents ask for."""
    named = {e.execution for e in extents if isinstance(e, Indexed)} - {"auto"}
    if len(named) > 1:
        raise ExecutionError(f"extents of one operation ask for {sorted(named)}")
    return forced(named.pop() if named else "auto")


def _too_many_bodies(extents: Extents) -> str | None:
    if (count := len(bodies(extents))) > MOST_BODIES:
        return f"{count} bodies to compile, more than {MOST_BODIES}"
    return None


def _not_worth_switching(call: Call, x: Array) -> str | None:
    costs = _costs(call, x)
    saved = max(costs) - sum(costs) // len(costs)
    if saved < LEAST_SAVED:
        return f"it would save {saved} operations of {max(costs)}, fewer than it costs"
    return None


def _gain(call: Call, x: Array) -> str:
    costs = _costs(call, x)
    share = sum(costs) / (len(costs) * max(costs))
    return f"{len(costs)} bodies, on average {share:.0%} of the largest's work"


def _costs(call: Call, x: Array) -> list[int]:
    operation, extents, weights = call
    return [operation.work(sizes, x, weights) for sizes in bodies(extents)]
