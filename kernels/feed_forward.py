"""Elastic nested feed-forward networks: a smaller one is a prefix of a larger one."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels.extents import Extent, Fixed
from kernels.linear import matmul


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["up", "down", "gate"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class FeedForwardWeights:
    """Full-size weights; without a gate the network is plain."""

    up: Float[Array, "features hidden"]
    down: Float[Array, "hidden features"]
    gate: Float[Array, "features hidden"] | None = None


def feed_forward(
    x: Float[Array, "rows features"],
    weights: FeedForwardWeights,
    features: Extent,
    hidden: Extent,
) -> Float[Array, "rows features"]:
    """Applies the first ``hidden`` units of a nested network (MatFormer 2023, Eq. 1).

    Gated: ``(silu(x G) * x U) D`` (Shazeer 2020, Eq. 6). Plain: ``gelu(x U) D``.
    Gate, up and down are cut by the same prefix, and nothing is rescaled. Size 0 skips
    the operation.
    """
    if isinstance(hidden, Fixed) and hidden.size == 0:
        return jnp.zeros_like(x)
    units = matmul(x, weights.up, features, hidden)
    if weights.gate is None:
        units = jax.nn.gelu(units)
    else:
        units = jax.nn.silu(matmul(x, weights.gate, features, hidden)) * units
    return matmul(units, weights.down, hidden, features)
