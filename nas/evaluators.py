"""What the evaluators of a search need: devices, threads, and variables for JAX.

An evaluator is a process of Ray that may be on another machine, so nothing of this
process's environment reaches it by itself. It is given

- every ``JAX_``, ``XLA_`` and ``NAS_`` variable that is set here, which comes first;
- ``JAX_PLATFORMS=cpu`` if it has no accelerator, because Ray hides none from processes
  that asked for none, and JAX would take what belongs to others;
- ``PJRT_NPROC``, its share of the cores, where XLA would start threads for all of them;
- ``XLA_PYTHON_CLIENT_PREALLOCATE=false`` if it shares a GPU, of which the first of them
  would otherwise take three quarters of the memory;
- a compilation cache in the run directory if it is on this machine, so that only the
  first of several evaluators compiles, and none that replaces a lost one.
"""

import math
from collections.abc import Mapping
from pathlib import Path

from nas.errors import RunError
from search.workers import Workers

PASSED_ON = ("JAX_", "XLA_", "NAS_")
"""Beginnings of the names of variables that evaluators are given."""

PRECISION = 10_000
"""Parts of a device that Ray can tell apart."""


def evaluators(
    count: int,
    *,
    cores: int | None,
    resources: Mapping[str, float],
    variables: Mapping[str, str],
    cache: Path,
) -> Workers:
    """Returns the evaluators of a campaign.

    Each has an accelerator, or its share of one if there are fewer; without any, local
    ones share the cores and those of a cluster have one each.

    Args:
        count: How many.
        cores: Of this machine if they are on it; ``None`` on a cluster.
        resources: What Ray has, by its names.
        variables: The environment of this process.
        cache: Where local ones keep what they compiled.

    Raises:
        RunError: If several would have to share a TPU.
    """
    device = _device(count, resources, variables)
    share = max(1, cores // count) if cores is not None and not device else 1
    chosen: dict[str, str] = {}
    if not device:
        chosen |= {"JAX_PLATFORMS": "cpu", "PJRT_NPROC": str(share)}
    elif device.get("GPU", 1.0) < 1.0:
        chosen |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    if cores is not None:
        chosen |= {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    given = {n: value for n, value in variables.items() if n.startswith(PASSED_ON)}
    return Workers(
        count=count,
        resources={"CPU": float(share), **device},
        environment={**chosen, **given},
    )


def shortage(workers: Workers, resources: Mapping[str, float]) -> str:
    """Returns what a campaign with these evaluators has to wait for; empty if nothing.

    Args:
        workers: The evaluators; the campaign itself takes one core more.
        resources: What Ray has, by its names.
    """
    needed = {name: workers.count * each for name, each in workers.resources.items()}
    needed["CPU"] = needed.get("CPU", 0.0) + 1.0
    return ", ".join(
        f"{amount:g} {name} where there is {resources.get(name, 0.0):g}"
        for name, amount in needed.items()
        if resources.get(name, 0.0) < amount
    )


def _device(
    count: int, resources: Mapping[str, float], variables: Mapping[str, str]
) -> dict[str, float]:
    """Returns the accelerator of each evaluator, if there are any and none refused."""
    if variables.get("JAX_PLATFORMS", "").split(",")[0] == "cpu":
        return {}
    if chips := resources.get("TPU", 0.0):
        if chips < count:
            raise RunError(
                f"search.evaluators is {count}, but there are {chips:.0f} TPU chips, "
                f"which cannot be shared; give --search.evaluators {chips:.0f} or less"
            )
        return {"TPU": 1.0}
    if gpus := resources.get("GPU", 0.0):
        each = math.ceil(count / gpus)
        return {"GPU": PRECISION // each / PRECISION}
    return {}
