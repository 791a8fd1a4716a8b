"""The moving average of the weights."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from supernets.weights import Params


def averaged(
    average: Params, params: Params, decay: float, number: Int[Array, ""]
) -> Params:
    """Returns the average after a step.

    Its decay is at most (1 + t) / (10 + t), so that the start is soon forgotten
    (TensorFlow's ExponentialMovingAverage).

    Args:
        average: Before the step.
        params: After it.
        decay: In the long run, 0 to below 1.
        number: Of the step, t, from 0.
    """
    count = number.astype(jnp.float32)
    kept = jnp.minimum(decay, (1 + count) / (10 + count))
    return jax.tree.map(functools.partial(_towards, share=1 - kept), average, params)


def _towards(average: Array, weight: Array, share: Float[Array, ""]) -> Array:
    return average + share * (weight - average)
