"""Nested feed-forward network that keeps the hidden units of a tile on the chip.

Fused on TPUs, and by ``triton`` for as many features as registers hold sums of. With
``mosaic_gpu`` it is composed of products: an SM can keep the sums of few rows only, and
by count of bytes, reading every weight again for each few rows takes longer than wgmma
and than writing the hidden units out. Not yet measured on hardware.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from kernels.feed_forward import FeedForwardWeights
from kernels.pallas import feed_forward_tpu
from kernels.pallas.boxes import Blocks, activated
from kernels.pallas.prefix_matmul import no_gradient
from kernels.pallas.products import Plan, Size, checked, planned, product, stacked
from kernels.pallas.selection import Implementation
from kernels.pallas.tpu import Interpret
from kernels.quantization.roundings import refusal


def prefix_feed_forward(
    x: Float[Array, "rows features"],
    weights: FeedForwardWeights,
    features: Size,
    hidden: Size,
    *,
    implementation: Implementation | None = None,
    blocks: Blocks | None = None,
    interpret: Interpret | None = None,
) -> Float[Array, "rows features"]:
    """Applies the first units of `kernels.feed_forward`, padded with zeros.

    As `kernels.pallas.prefix_matmul.prefix_matmul` for what is inactive, for types and
    for populations. The activation is computed in float32.

    Args:
        x: Activations; the inactive features are never used.
        weights: Full-size weights, of the same type.
        features: Active features, from 0; clipped to the full size if traced.
        hidden: Active hidden units, likewise.
        implementation: Chosen by the default device unless given.
        blocks: Tiles of rows, features (inner) and hidden units (columns).
        interpret: True to interpret the kernel, as is possible on CPUs.

    Raises:
        ValueError: If no kernel runs here, or the operands do not fit.
    """
    if reason := refusal(weights.inputs, weights.hidden):
        raise ValueError(f"{reason}: use kernels.feed_forward.feed_forward")
    types = {x.dtype, *(leaf.dtype for leaf in jax.tree.leaves(weights))}
    if len(types) > 1:
        raise ValueError(f"x and the weights differ in type, {types}: cast them")
    full_features, full_hidden = weights.up.shape
    plan = planned(
        x.dtype,
        (x.shape[0], full_features, full_hidden),
        implementation=implementation,
        blocks=blocks,
        interpret=interpret,
    )
    active = (
        checked("features", features, full_features),
        checked("hidden", hidden, full_hidden),
    )
    gate = () if weights.gate is None else (weights.gate,)
    return _feed_forward(plan, x, (weights.up, *gate), weights.down, *active)


def fusion_refusal(
    implementation: Implementation, rows: int, features: int, dtype: jnp.dtype
) -> str | None:
    """Returns why the network is composed of products instead of fused, or None.

    Args:
        implementation: That of the products.
        rows: Rows of the activations.
        features: Full features.
        dtype: The type of activations and weights.
    """
    if implementation == "tpu":
        return feed_forward_tpu.refusal(rows, features, dtype)
    if implementation == "mosaic_gpu":
        return "an SM cannot keep the sums of enough rows to feed wgmma"
    from kernels.pallas import feed_forward_triton

    return feed_forward_triton.refusal(features)


Ups = tuple[Float[Array, "features hidden"], ...]
"""The up projection, and the gate if there is one."""

Down = Float[Array, "hidden features"]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _feed_forward(
    plan: Plan,
    x: Float[Array, "rows features"],
    ups: Ups,
    down: Down,
    features: Int[Array, ""],
    hidden: Int[Array, ""],
) -> Float[Array, "rows features"]:
    rows, full = x.shape
    if fusion_refusal(plan.implementation, rows, full, x.dtype) is not None:
        units = activated(*_sums(plan, x, ups, features, hidden)).astype(x.dtype)
        return product(plan, units, down, (rows, hidden, features))
    sizes = stacked((features, hidden), (full, down.shape[0]))
    if plan.implementation == "tpu":
        return feed_forward_tpu.feed_forward(
            x, ups, down, sizes, blocks=plan.blocks, interpret=plan.interpret
        )
    from kernels.pallas import feed_forward_triton

    return feed_forward_triton.feed_forward(
        x, ups, down, sizes, blocks=plan.blocks, interpret=bool(plan.interpret)
    )


def _sums(
    plan: Plan,
    x: Float[Array, "rows features"],
    ups: Ups,
    features: Int[Array, ""],
    hidden: Int[Array, ""],
) -> tuple[Float[Array, "rows hidden"], ...]:
    """Returns what is activated, in float32 as the fused kernels have it."""
    sizes = (x.shape[0], features, hidden)
    exact = jnp.dtype(jnp.float32)
    return tuple(product(plan, x, up, sizes, dtype=exact) for up in ups)


Residuals = tuple[
    Float[Array, "rows features"], Ups, Down, Int[Array, ""], Int[Array, ""]
]


def _forward(
    plan: Plan,
    x: Float[Array, "rows features"],
    ups: Ups,
    down: Down,
    features: Int[Array, ""],
    hidden: Int[Array, ""],
) -> tuple[Float[Array, "rows features"], Residuals]:
    saved = (x, ups, down, features, hidden)
    return _feed_forward(plan, *saved), saved


Gradients = tuple[Float[Array, "rows features"], Ups, Down, np.ndarray, np.ndarray]


def _backward(
    plan: Plan, saved: Residuals, grad: Float[Array, "rows features"]
) -> Gradients:
    x, ups, down, features, hidden = saved
    rows, exact = x.shape[0], jnp.dtype(jnp.float32)
    multiply = functools.partial(product, plan)
    # Computed again, by one of the five products of this pass (gated: two of eight).
    # Saving them would write out what the forward kernel exists to keep on the chip.
    units, pullback = jax.vjp(activated, *_sums(plan, x, ups, features, hidden))
    units_grad = multiply(
        grad, down, (rows, features, hidden), contract=(1, 1), dtype=exact
    )
    sum_grads = tuple(part.astype(x.dtype) for part in pullback(units_grad))
    down_grad = multiply(
        units.astype(x.dtype), grad, (hidden, rows, features), contract=(0, 0)
    )
    up_grads = tuple(
        multiply(x, part, (features, rows, hidden), contract=(0, 0))
        for part in sum_grads
    )
    x_grads = [
        multiply(part, up, (rows, hidden, features), contract=(1, 1), dtype=exact)
        for part, up in zip(sum_grads, ups, strict=True)
    ]
    x_grad = sum(x_grads[1:], x_grads[0]).astype(x.dtype)
    return x_grad, up_grads, down_grad, no_gradient(), no_gradient()


_feed_forward.defvjp(_forward, _backward)
