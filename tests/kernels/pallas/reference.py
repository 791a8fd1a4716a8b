"""What the Pallas kernels have to compute, and arrays that are NaN where inactive."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from kernels.feed_forward import FeedForwardWeights
from kernels.pallas.boxes import Blocks
from kernels.pallas.feed_forward import prefix_feed_forward
from kernels.pallas.prefix_matmul import prefix_matmul
from tests.kernels.comparison import normal, quick_jit

INTERPRETED = ("tpu", "triton")
TILES = Blocks(rows=16, inner=16, columns=16)


def only(array, *sizes) -> np.ndarray:
    """An array that is NaN and infinite wherever it is not active."""
    inside = np.zeros(array.shape, bool)
    inside[tuple(slice(size) for size in sizes)] = True
    wrong = np.where(np.arange(array.size).reshape(array.shape) % 2, np.nan, np.inf)
    return np.where(inside, array, wrong).astype(array.dtype)


def arrays(*given):
    """Arrays of JAX's own type, which functions that are not compiled ask for."""
    return tuple(jnp.asarray(array) for array in given)


def padded(array, shape) -> np.ndarray:
    """An array with zeros up to a shape."""
    return np.pad(array, [(0, n - m) for m, n in zip(array.shape, shape, strict=True)])


def interpreted(operation, implementation):
    """An operation in interpret mode on tiny tiles."""
    return functools.partial(
        operation, implementation=implementation, blocks=TILES, interpret=True
    )


@functools.cache
def pulled_matmul(implementation):
    """The compiled value and gradients of a product, for traced sizes."""

    def run(x, weight, inputs, outputs, cotangent):
        multiply = interpreted(prefix_matmul, implementation)
        value, pull = jax.vjp(lambda *a: multiply(*a, inputs, outputs), x, weight)
        return value, *pull(cotangent)

    return quick_jit(run)


@functools.cache
def pulled_feed_forward(implementation):
    """The compiled value and gradients of a network, for traced sizes."""

    def run(x, weights, features, hidden, cotangent):
        apply = interpreted(prefix_feed_forward, implementation)
        value, pull = jax.vjp(lambda *a: apply(*a, features, hidden), x, weights)
        return value, *pull(cotangent)

    return quick_jit(run)


def network(features, hidden, *, gated) -> FeedForwardWeights:
    """Normally distributed weights."""
    shapes = [(features, hidden), (hidden, features), (features, hidden)]
    scaled = [normal(s, seed, s[0] ** -0.5) for seed, s in enumerate(shapes)]
    up, down, gate = (jnp.asarray(array) for array in scaled)
    return FeedForwardWeights(up, down, gate if gated else None)


def only_active(weights, features, hidden) -> FeedForwardWeights:
    """Weights that are NaN and infinite wherever they are not active."""
    up, down, gate = weights.up, weights.down, weights.gate
    return FeedForwardWeights(
        jnp.asarray(only(up, features, hidden)),
        jnp.asarray(only(down, hidden, features)),
        None if gate is None else jnp.asarray(only(gate, features, hidden)),
    )


def masked_feed_forward(x, weights, features, hidden):
    """The network by masks: what a slice computes, in one program for all sizes."""
    of_features, of_hidden = (
        jnp.arange(full) < size
        for full, size in zip(weights.up.shape, (features, hidden), strict=True)
    )
    box = of_features[:, None] & of_hidden[None, :]
    inside = jnp.where(of_features[None, :], x, 0.0)
    units = inside @ jnp.where(box, weights.up, 0.0)
    if weights.gate is None:
        units = jax.nn.gelu(units)
    else:
        units = jax.nn.silu(inside @ jnp.where(box, weights.gate, 0.0)) * units
    return units @ jnp.where(box.T, weights.down, 0.0)


@quick_jit
def pulled_reference(x, weights, features, hidden, cotangent):
    """The value and gradients that a network has to have."""
    value, pull = jax.vjp(
        lambda *a: masked_feed_forward(*a, features, hidden), x, weights
    )
    return value, *pull(cotangent)
