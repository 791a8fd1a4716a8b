"""Arithmetic with probabilities that may be exactly zero.

A search by gradient takes the derivative by the probability of what was not chosen, so
what was not chosen has to be computed, and multiplied by zero. But zero times NaN is
NaN: a part that was never trained, or that diverged, would break the ones that run.
"""

from collections.abc import Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Tree = TypeVar("Tree")


def weighted(array: Array, mask: Array) -> Array:
    """Multiplies by a soft mask; what is not finite counts for nothing where it is 0.

    The gradient of a mask of 0 is kept: it is the array where that is finite, which is
    what straight-through one-hot samples (GDAS, Dong 2019) learn from, and 0 elsewhere.

    Args:
        array: What is weighted.
        mask: Of the same rank, and of sizes that broadcast to the array's.
    """
    mask = mask.astype(array.dtype)
    finite = jnp.isfinite(array)
    # Two terms and not one: where this mask lets a NaN pass that a later mask stops,
    # the gradient of this mask would be 0 * NaN.
    trusted = jnp.where(finite, array, 0.0)
    broken = jnp.where(finite | (mask == 0), 0.0, array)
    return trusted * mask + broken


def mixture(
    outputs: Sequence[Float[Array, "*shape"]], weights: Float[Array, " outputs"]
) -> Float[Array, "*shape"]:
    """Averages outputs of one shape; one of probability 0 may be NaN."""
    shape = (1,) * outputs[0].ndim
    terms = [weighted(y, weights[i].reshape(shape)) for i, y in enumerate(outputs)]
    return jnp.sum(jnp.stack(terms), axis=0)


def shielded(tree: Tree, active: Bool[Array, ""]) -> Tree:
    """Returns a tree whose gradient is exactly zero unless it is active.

    What runs with probability 0 hands back gradients of 0, or NaN where it met 0 * NaN
    on its way: the shield keeps them from what it read.
    """

    def shield(leaf: Array) -> Array:
        return jnp.where(active, leaf, jax.lax.stop_gradient(leaf))

    return jax.tree.map(shield, tree)
