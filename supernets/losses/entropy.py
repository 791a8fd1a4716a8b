"""Entropies of predictions, as means over examples or tokens, in nats."""

import functools
import math
from collections.abc import Callable, Mapping

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
    *,
    temperature: float = 1.0,
) -> Float[Array, ""]:
    """Returns the mean soft cross-entropy against a detached teacher, in nats.

    This is in-place distillation of US-Nets (Yu and Huang 2019, section 3.3): the
    largest network's predictions are the labels and receive no gradient.

    Args:
        student: Logits that learn.
        teacher: Logits that are learnt from.
        temperature: What both are divided by. The mean is multiplied by its square,
            because gradients shrink with it (Hinton 2015, section 2).
    """
    targets = jax.lax.stop_gradient(jax.nn.softmax(teacher / temperature))
    scores = jax.nn.log_softmax(student / temperature)
    return -(temperature**2) * jnp.mean(jnp.sum(targets * scores, axis=-1))


def data_loss(
    logits: Array | Mapping[str, Array],
    targets: Array | Mapping[str, Array],
    *,
    smoothing: float = 0.0,
) -> Float[Array, ""]:
    """Returns the cross-entropy on the data, summed over tasks, in nats.

    Args:
        logits: Of one task, or by the task's name.
        targets: Alike.
        smoothing: Probability that labels spread evenly over all classes.
    """

    def one(logits: Array, targets: Array) -> Array:
        data = cross_entropy(logits, targets)
        if not smoothing:
            return data
        return (1 - smoothing) * data - smoothing * jnp.mean(jax.nn.log_softmax(logits))

    return sum_over_tasks(one, logits, targets)


def soft_loss(
    student: Array | Mapping[str, Array],
    teacher: Array | Mapping[str, Array],
    *,
    temperature: float = 1.0,
) -> Float[Array, ""]:
    """Returns the soft cross-entropy against a teacher, summed over tasks, in nats.

    Args:
        student: Logits of one task, or by the task's name.
        teacher: Alike; they get no gradient.
        temperature: As of `distillation`.
    """
    one = functools.partial(distillation, temperature=temperature)
    return sum_over_tasks(one, student, teacher)


def sum_over_tasks(
    loss: Callable[..., Array], *parts: Array | Mapping[str, Array]
) -> Float[Array, ""]:
    """Applies a loss to each task and adds up; without tasks, applies it once."""
    return functools.reduce(jnp.add, jax.tree.leaves(jax.tree.map(loss, *parts)))
