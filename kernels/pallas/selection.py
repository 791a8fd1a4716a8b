"""Which implementation runs, and why another one does not.

==============  ======================================================================
implementation  runs on
==============  ======================================================================
``tpu``         every TPU
``mosaic_gpu``  Hopper GPUs: bfloat16, full sizes that are multiples of 64
``triton``      other GPUs, types and sizes, while JAX has this backend of Pallas
==============  ======================================================================
"""

import importlib.util
from typing import Literal

import jax
import jax.numpy as jnp

from kernels.pallas.boxes import Shape

Implementation = Literal["tpu", "mosaic_gpu", "triton"]

HOPPER = "9.0"
"""The compute capability that has wgmma; those before and after do not."""

WGMMA_SIZE = 64
"""Tiles of `mosaic_gpu` are multiples of it and may not reach beyond an array."""


def refusal(
    backend: str, dtype: jnp.dtype, rows: int, inputs: int, outputs: int
) -> str | None:
    """Returns why Pallas cannot run a product on a backend, or None if it can.

    Args:
        backend: What `jax.default_backend` returns.
        dtype: The type of both operands.
        rows: Full rows of the product.
        inputs: Full size of the summed axis.
        outputs: Full columns of the product.
    """
    if backend == "cpu":
        return "Pallas has no compiler for the CPU; it interprets there"
    if reason := _any_refusal(dtype, (rows, inputs, outputs)):
        return reason
    if backend == "tpu":
        return None
    if backend not in ("gpu", "cuda", "rocm"):
        return f"Pallas has no compiler for {backend!r}"
    return _gpu_choice(dtype, (rows, inputs, outputs))[1]


def selected(dtype: jnp.dtype, shape: Shape) -> Implementation:
    """Returns the implementation for the default backend.

    Raises:
        ValueError: If there is none.
    """
    backend = jax.default_backend()
    if reason := refusal(backend, dtype, *shape):
        raise ValueError(
            f"no Pallas kernel runs here: {reason}. Pass interpret=True to interpret "
            "one, or name the implementation to lower it for another platform"
        )
    return "tpu" if backend == "tpu" else _gpu_choice(dtype, shape)[0]


def required(
    implementation: Implementation, dtype: jnp.dtype, shape: Shape
) -> Implementation:
    """Returns an implementation that was asked for by name, on whatever device.

    Raises:
        ValueError: If it cannot take the operands.
    """
    reason = _any_refusal(dtype, shape)
    if implementation == "mosaic_gpu":
        reason = reason or mosaic_gpu_refusal(dtype, shape, HOPPER)
    if implementation == "triton":
        reason = reason or triton_refusal()
    if reason:
        raise ValueError(f"{implementation!r} cannot run this: {reason}")
    return implementation


def mosaic_gpu_refusal(
    dtype: jnp.dtype, shape: Shape, capability: str | None
) -> str | None:
    """Returns why wgmma cannot run a product, or None.

    Args:
        dtype: The type of both operands.
        shape: Full rows, inner and columns.
        capability: Compute capability of the GPU; None if there is none.
    """
    if capability != HOPPER:
        return f"wgmma needs compute capability {HOPPER}, not {capability}"
    if jnp.dtype(dtype) != jnp.bfloat16:
        return f"wgmma would round {jnp.dtype(dtype).name}; it takes bfloat16"
    if any(size % WGMMA_SIZE for size in shape):
        return f"full sizes {shape} are not all multiples of {WGMMA_SIZE}"
    return None


def triton_refusal() -> str | None:
    """Returns why the Triton backend cannot run, or None."""
    if importlib.util.find_spec("jax.experimental.pallas.triton") is None:
        return f"JAX {jax.__version__} has no Triton backend of Pallas"
    return None


def _any_refusal(dtype: jnp.dtype, shape: Shape) -> str | None:
    if jnp.dtype(dtype) not in (jnp.bfloat16, jnp.float32):
        return f"the kernels take bfloat16 and float32, not {jnp.dtype(dtype).name}"
    if not all(shape):
        return f"full sizes {shape} leave nothing to compute"
    return None


def _gpu_choice(dtype: jnp.dtype, shape: Shape) -> tuple[Implementation, str | None]:
    """Returns an implementation, and why neither it nor the other runs or None."""
    device = jax.local_devices()[0]
    capability = getattr(device, "compute_capability", None)
    by_wgmma = mosaic_gpu_refusal(dtype, shape, capability)
    if by_wgmma is None:
        return "mosaic_gpu", None
    by_triton = triton_refusal()
    return "triton", by_triton and f"{by_wgmma}; {by_triton}"
