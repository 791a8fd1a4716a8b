"""Losses, as means over tokens in nats."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

NATS_PER_BIT = math.log(2.0)


def cross_entropy(
    logits: Float[Array, "*batch vocabulary"], targets: Int[Array, "*batch"]
) -> Float[Array, ""]:
    """Returns the mean negative log-likelihood of the targets, in nats."""
    log_probabilities = jax.nn.log_softmax(logits)
    picked = jnp.take_along_axis(log_probabilities, targets[..., None], axis=-1)
    return -jnp.mean(picked)


def distillation(
    student: Float[Array, "*batch vocabulary"],
    teacher: Float[Array, "*batch vocabulary"],
) -> Float[Array, ""]:
    """Returns the mean soft cross-entropy against a detached teacher, in nats.

    This is in-place distillation of US-Nets (Yu and Huang 2019, section 3.3): the
    largest network's predictions are the labels and receive no gradient.
    """
    targets = jax.lax.stop_gradient(jax.nn.softmax(teacher))
    return -jnp.mean(jnp.sum(targets * jax.nn.log_softmax(student), axis=-1))
