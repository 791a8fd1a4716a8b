"""Subnets that differ in one axis only."""

import numpy as np

from search.space import Genotypes, Space, Value

Rungs = Genotypes
"""Smallest first; the last is the largest subnet."""


def ladder(space: Space, axis: str) -> Rungs:
    """Returns a subnet for each value of one axis, all others at their largest.

    Every layer has the same value. Under the ``free`` rule of depth the first layers
    run.

    Args:
        space: Whose members they are.
        axis: Name of a choice, or ``depth``.

    Raises:
        ValueError: If the space has no such axis, if the axis has one value only, or
            if a rule excludes one of the subnets.
    """
    values = _values(space, axis)
    rungs = np.tile(space.largest, (len(values), 1))
    if axis != "depth":
        rungs[:, space.slices[axis]] = np.arange(len(values))[:, None]
    elif space.free:
        counts = np.asarray(values)[:, None]
        rungs[:, : space.layers] = np.arange(space.layers) < counts
    else:
        rungs[:, 0] = np.arange(len(values))
    rungs = space.canonical(rungs)
    if not (members := space.valid(rungs)).all():
        value = values[int(np.argmin(members))]
        raise ValueError(
            f"a rule of the space excludes {axis} {value} with all else at its largest"
        )
    return rungs


def _values(space: Space, axis: str) -> tuple[Value, ...]:
    if axis not in space.axes:
        raise ValueError(f"no axis {axis!r} to vary; there are {list(space.axes)}")
    values = space.axes[axis]
    if len(values) < 2:
        raise ValueError(
            f"{axis!r} has the one value {values[0]}: nothing to vary; give it more, "
            "or open it in this phase"
        )
    return values
