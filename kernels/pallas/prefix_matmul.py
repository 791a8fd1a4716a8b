"""Product with a prefix of a weight's rows and columns, of traced sizes."""

import functools

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from kernels.pallas.boxes import Blocks
from kernels.pallas.products import Plan, Size, checked, planned, product
from kernels.pallas.selection import Implementation
from kernels.pallas.tpu import Interpret


def prefix_matmul(
    x: Float[Array, "rows inputs"],
    weight: Float[Array, "inputs outputs"],
    inputs: Size,
    outputs: Size,
    *,
    implementation: Implementation | None = None,
    blocks: Blocks | None = None,
    interpret: Interpret | None = None,
) -> Float[Array, "rows outputs"]:
    """Returns ``x[:, :inputs] @ weight[:inputs, :outputs]``, padded with zeros.

    Whole tiles beyond the active sizes are neither computed nor fetched, forwards and
    backwards. What is inactive may be NaN: it never reaches a value or a gradient, and
    gradients there are exactly zero. Sums are float32. One program serves all sizes;
    under `jax.vmap` over them, a population runs one after the other.

    Args:
        x: Activations; the inactive inputs are never used.
        weight: The shared full-size weight, of the same type.
        inputs: Active rows of the weight, from 0; clipped to the full size if traced.
        outputs: Active columns of the weight, likewise.
        implementation: Chosen by the default device unless given; give it to lower for
            another platform than that of this process.
        blocks: Tile sizes in place of the implementation's own.
        interpret: True to interpret the kernel, as is possible on CPUs. Parameters
            of the TPU simulator stand for true.

    Raises:
        ValueError: If no kernel runs here, or the operands do not fit.
    """
    _require_same_type(x, weight)
    full_rows, full_inputs = x.shape
    full_outputs = weight.shape[1]
    plan = planned(
        x.dtype,
        (full_rows, full_inputs, full_outputs),
        implementation=implementation,
        blocks=blocks,
        interpret=interpret,
    )
    active = (
        checked("inputs", inputs, full_inputs),
        checked("outputs", outputs, full_outputs),
    )
    return _prefix_matmul(plan, x, weight, *active)


def _require_same_type(x: Shaped[Array, "..."], weight: Shaped[Array, "..."]) -> None:
    if x.dtype != weight.dtype:
        raise ValueError(f"x is {x.dtype} and the weight {weight.dtype}: cast one")


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _prefix_matmul(
    plan: Plan,
    x: Float[Array, "rows inputs"],
    weight: Float[Array, "inputs outputs"],
    inputs: Int[Array, ""],
    outputs: Int[Array, ""],
) -> Float[Array, "rows outputs"]:
    return product(plan, x, weight, (x.shape[0], inputs, outputs))


Residuals = tuple[
    Float[Array, "rows inputs"],
    Float[Array, "inputs outputs"],
    Int[Array, ""],
    Int[Array, ""],
]


def _forward(
    plan: Plan,
    x: Float[Array, "rows inputs"],
    weight: Float[Array, "inputs outputs"],
    inputs: Int[Array, ""],
    outputs: Int[Array, ""],
) -> tuple[Float[Array, "rows outputs"], Residuals]:
    saved = (x, weight, inputs, outputs)
    return _prefix_matmul(plan, *saved), saved


Gradients = tuple[
    Float[Array, "rows inputs"], Float[Array, "inputs outputs"], np.ndarray, np.ndarray
]


def _backward(
    plan: Plan, saved: Residuals, grad: Float[Array, "rows outputs"]
) -> Gradients:
    x, weight, inputs, outputs = saved
    rows = x.shape[0]
    x_grad = product(plan, grad, weight, (rows, outputs, inputs), contract=(1, 1))
    weight_grad = product(plan, x, grad, (inputs, rows, outputs), contract=(0, 0))
    return x_grad, weight_grad, no_gradient(), no_gradient()


def no_gradient() -> np.ndarray:
    """Returns the cotangent of a size: integers have none."""
    return np.zeros((), jax.dtypes.float0)


_prefix_matmul.defvjp(_forward, _backward)
