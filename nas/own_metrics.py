"""Cheap metrics of one's own: functions of an architecture, imported by name."""

import importlib
import math
import numbers
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from nas.errors import UsageError
from nas.metric_names import module_and_function
from search.space import Architecture, Genotypes, Space

OwnMetric = Callable[[Architecture], object]


def own_metrics(
    names: Sequence[str], space: Space, genotypes: Genotypes
) -> dict[str, Float[np.ndarray, " population"]]:
    """Returns what functions of one's own say of each genotype, by function name.

    Args:
        names: As ``mypackage.costs:energy_mj``.
        space: What genotypes are members of.
        genotypes: Which.

    Raises:
        UsageError: If a function cannot be imported or called, or gives anything but
            one finite number.
    """
    if not names:
        return {}
    architectures = [space.decode(genotype) for genotype in genotypes]
    found = {}
    for name in names:
        function = load(name)
        values = [_value(name, function, arch) for arch in architectures]
        found[module_and_function(name)[1]] = np.asarray(values, float)
    return found


def load(name: str) -> OwnMetric:
    """Imports a function.

    Raises:
        UsageError: If there is no such module, or no such function in it.
    """
    module, function = module_and_function(name)
    try:
        found = getattr(importlib.import_module(module), function)
    except ImportError as error:
        raise UsageError(
            f"search.metrics: {name} cannot be imported ({error}); install the "
            "package, or name its folder in PYTHONPATH"
        ) from error
    except AttributeError as error:
        raise UsageError(
            f"search.metrics: the module {module} has no {function}"
        ) from error
    if not callable(found):
        raise UsageError(
            f"search.metrics: {name} is of type {type(found).__name__}; name a "
            "function that takes an architecture and returns a number"
        )
    return found


def _value(name: str, function: OwnMetric, architecture: Architecture) -> float:
    wanted = "it must return one finite number for every architecture"
    try:
        value = function(architecture)
    except Exception as error:
        raise UsageError(
            f"search.metrics: {name} failed for {architecture.to_json()} "
            f"({type(error).__name__}: {error}); {wanted}"
        ) from error
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise UsageError(
            f"search.metrics: {name} returned {value!r} for {architecture.to_json()}; "
            f"{wanted}"
        )
    return float(value)
