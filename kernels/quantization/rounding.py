"""Gradients through what has none: rounding, and scales that are trained with weights.

What these return is the value they are given, bit for bit: differences that are zero
are added to it, and not the value to a difference.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def straight_through(
    value: Float[Array, "*shape"], source: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """Returns a value with the gradient of its source (arXiv 1308.3432)."""
    return jax.lax.stop_gradient(value) + (source - jax.lax.stop_gradient(source))


def rounded(array: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns the nearest whole numbers, with the gradient of what they are near to."""
    return straight_through(jnp.round(array), array)


def gradient_scaled(
    array: Float[Array, "*shape"], factor: float | Float[Array, ""]
) -> Float[Array, "*shape"]:
    """Returns the array, whose gradient is multiplied by a factor."""
    constant = jax.lax.stop_gradient(array)
    return constant + (array - constant) * factor
