"""Verification: what every written form of a subnet gives, against what it should."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, PyTree
from safetensors.numpy import load_file

from supernets.network import Inputs
from supernets.quantization.plain_checks import (
    holds_integers,
    product_difference,
    rounds_activations,
    with_float_products,
)
from supernets.weights import Params

TOLERANCE = 1e-4
"""Largest difference of a logit, relative to the largest logit, that verifies."""

STORED_TOLERANCE = 1e-5
"""The same of a network that stores few bits, whose numbers are few and exact."""

HASTY = {"xla_backend_optimization_level": 0}
"""Compiler options for a program that runs once."""

ONNX_ERRORS_ONLY = 3

Logits = PyTree[np.ndarray]
"""Of one task, or a dictionary by the task's name."""


ROUNDING = (
    "activations are rounded, which turns the last digits of a sum into whole steps: "
    "model.safetensors is compared with its products in floats, each of its products "
    "in integers with the same in floats, and other files with what it gives"
)
"""What is done about logits that no two programs agree on."""


def verify(
    folder: Path, network: nnx.Module, inputs: np.ndarray, expected: Logits
) -> dict[str, dict[str, object]]:
    """Runs every written form as a user would, and compares.

    Args:
        folder: Where they lie.
        network: As it was loaded from there.
        inputs: To give them.
        expected: Logits that they should give.
    """
    tolerance, given = tolerance_of(network), logits_of(network, inputs)
    if rounds_activations(network):
        checks = {"model.safetensors": _in_floats(network, inputs, given, expected)}
        expected = given
    else:
        checks = {"model.safetensors": compared(given, expected, tolerance)}
    stored = bytearray((folder / "model.stablehlo").read_bytes())
    program = jax.export.deserialize(stored)
    weights = load_file(folder / "model.safetensors")
    found = run_once(program.call, weights, inputs)
    checks["model.stablehlo"] = compared(found, expected, tolerance)
    if (folder / "model.onnx").exists():
        outputs = _run_onnx(folder / "model.onnx", inputs)
        found = jax.tree.unflatten(jax.tree.structure(expected), outputs)
        checks["model.onnx"] = compared(found, expected, tolerance)
    return checks


def _in_floats(
    network: nnx.Module, inputs: np.ndarray, given: Logits, expected: Logits
) -> dict[str, object]:
    """Compares a network that rounds activations; see `ROUNDING`.

    Args:
        network: As it was loaded.
        inputs: To give it.
        given: Its logits.
        expected: The supernet's.
    """
    floats = logits_of(with_float_products(network), inputs)
    found = compared(floats, expected, STORED_TOLERANCE)
    graph, params = nnx.split(network)

    def difference(params: Params) -> Array:
        return product_difference(nnx.merge(graph, params))

    products = float(run_once(difference, params))
    return {
        **found,
        "largest_product_difference": products,
        "verified": bool(found["verified"]) and products <= STORED_TOLERANCE,
        "in_integers": compared(given, expected)["largest_difference"],
    }


def tolerance_of(network: nnx.Module) -> float:
    """Returns what may be the difference of a logit, relative to the largest."""
    return STORED_TOLERANCE if holds_integers(network) else TOLERANCE


def compared(
    logits: Logits, expected: Logits, tolerance: float = TOLERANCE
) -> dict[str, object]:
    """Returns how far logits are from what is expected, of each task."""

    def one(given: np.ndarray, wanted: np.ndarray) -> dict[str, object]:
        difference, scale = np.abs(given - wanted).max(), np.abs(wanted).max()
        return {
            "largest_difference": float(difference),
            "largest_logit": float(scale),
            # Numbers that are none are not close to anything.
            "verified": bool(difference <= tolerance * scale),
        }

    tasks = jax.tree.map(one, logits, expected)
    if isinstance(expected, np.ndarray):
        return tasks
    return {"verified": all(task["verified"] for task in tasks.values()), **tasks}


def logits_of(network: nnx.Module, inputs: np.ndarray) -> Logits:
    """Returns what a plain network gives."""
    graph, params = nnx.split(network)

    def run(params: Params, inputs: Inputs) -> PyTree:
        return nnx.merge(graph, params)(inputs)

    return run_once(run, params, jnp.asarray(inputs))


def run_once(function: Callable[..., PyTree], *arguments: object) -> Logits:
    """Runs a function once, compiled in a hurry: it is compared, not timed."""
    compiled = jax.jit(function, compiler_options=HASTY)
    return jax.tree.map(np.asarray, compiled(*arguments))


def _run_onnx(path: Path, inputs: np.ndarray) -> list[np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ONNX_ERRORS_ONLY
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return session.run(None, {name: inputs})
