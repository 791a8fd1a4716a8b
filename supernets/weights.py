"""Weights of a module as a flat dictionary of dotted names, and back."""

from collections.abc import Hashable, Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array

Weight = Array | np.ndarray
"""A parameter on a device, or in host memory."""

Params = nnx.State[Hashable, Any]
"""A module's parameters by attribute, nested: Flax types neither level of them."""


def flat_weights(module: nnx.Module) -> dict[str, Weight]:
    """Returns parameters by dotted name, as ``blocks.0.attention.query``."""
    paths = nnx.to_flat_state(nnx.state(module, nnx.Param))
    return {_dotted(path): variable[...] for path, variable in paths}


def set_weights(module: nnx.Module, weights: Mapping[str, Weight]) -> None:
    """Replaces a module's parameters by the given arrays, which stay where they are.

    A module that holds NumPy arrays is cut into subnets without compiling anything; put
    its parameters on a device before running it often.

    Raises:
        ValueError: If names or shapes are not those of the module.
    """
    paths = nnx.to_flat_state(nnx.state(module, nnx.Param))
    expected = {_dotted(path): variable.shape for path, variable in paths}
    given = {name: weight.shape for name, weight in weights.items()}
    if expected != given:
        wrong = sorted(
            name
            for name in expected.keys() | given.keys()
            if expected.get(name) != given.get(name)
        )
        raise ValueError(
            f"weights do not fit the network: {wrong[0]!r} has shape "
            f"{given.get(wrong[0], 'none')}, expected {expected.get(wrong[0], 'none')} "
            f"({len(wrong)} of {len(expected)} differ)"
        )
    state = nnx.from_flat_state(
        (path, variable.replace(weights[_dotted(path)])) for path, variable in paths
    )
    nnx.update(module, state)


def host_copy(weights: Mapping[str, Weight]) -> dict[str, np.ndarray]:
    """Returns the weights as contiguous NumPy arrays in host memory.

    Contiguous, because safetensors writes the memory behind a view, not the view.
    """
    return {
        name: np.asarray(jax.device_get(weight), order="C")
        for name, weight in weights.items()
    }


def _dotted(path: tuple[object, ...]) -> str:
    return ".".join(str(part) for part in path)
