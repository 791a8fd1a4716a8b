"""Divergences between predictions, by which a student differs from its teacher."""

import functools
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from supernets.losses.entropy import sum_over_tasks

SPECIAL = 1e-3
"""Alphas as near as this to 0 or 1 count as these: the formula divides by them."""


def kl_divergence(
    of: Float[Array, "*batch classes"], other: Float[Array, "*batch classes"]
) -> Float[Array, ""]:
    """Returns the mean of ``KL(p || q)`` in nats, with a gradient to both.

    Args:
        of: Logits of p.
        other: Logits of q.
    """
    log_p, log_q = jax.nn.log_softmax(of), jax.nn.log_softmax(other)
    return jnp.mean(jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1))


def kl_loss(
    of: Array | Mapping[str, Array], other: Array | Mapping[str, Array]
) -> Float[Array, ""]:
    """Returns the mean KL divergence summed over tasks, in nats."""
    return sum_over_tasks(kl_divergence, of, other)


def alpha_divergence(
    student: Float[Array, "*batch classes"],
    teacher: Float[Array, "*batch classes"],
    *,
    alpha: float,
    clip: float = math.inf,
) -> Float[Array, "*batch"]:
    """Returns the alpha-divergence of each example, in nats.

    With q the student, p the detached teacher and t = p / q it is ``sum q f(t)``, where
    ``f(t) = (t^alpha - 1) / (alpha (alpha - 1))``; at 1, KL(p || q); at 0, KL(q || p)
    (AlphaNet, Wang 2021). Its gradient is that of ``-sum [q rho(t)] log q``,
    where the bracket is held constant and ``rho(t) = t^alpha / alpha + 1 / (alpha
    (alpha - 1))``. Without clipping this is the gradient of the value; where t^alpha is
    clipped it bounds an entry's gradient instead of cutting it off.

    Everything is computed from log t: a quotient of probabilities is 0 / 0 where both
    are too small for their type.

    Args:
        student: Logits that learn.
        teacher: Logits that are learnt from.
        alpha: Positive, it penalises a student that leaves out what the teacher finds
            likely; negative, one that finds likely what the teacher rules out.
        clip: The largest t^alpha, of t at an alpha of 0. At 1 nothing is clipped: there
            q t is p.
    """
    log_q = jax.nn.log_softmax(student)
    log_p = jax.lax.stop_gradient(jax.nn.log_softmax(teacher))
    q, log_t = jax.lax.stop_gradient((jnp.exp(log_q), log_p - log_q))
    if abs(alpha - 1) < SPECIAL:
        # f = t log t, rho = t.
        terms, slopes = jnp.exp(log_p) * log_t, jnp.exp(log_p)
    elif abs(alpha) < SPECIAL:
        # f = -log t, rho = log t - 1.
        log_t = jnp.minimum(log_t, math.log(clip))
        terms, slopes = -q * log_t, q * (log_t - 1)
    else:
        power = jnp.exp(jnp.minimum(alpha * log_t, math.log(clip)))
        scale = 1 / (alpha * (alpha - 1))
        terms, slopes = q * (power - 1) * scale, q * (power / alpha + scale)
    surrogate = -jnp.sum(slopes * log_q, axis=-1)
    # The value of the divergence, the gradient of the surrogate.
    return jnp.sum(terms, axis=-1) + surrogate - jax.lax.stop_gradient(surrogate)


def adaptive_divergence(
    student: Float[Array, "*batch classes"],
    teacher: Float[Array, "*batch classes"],
    *,
    alphas: tuple[float, float],
    clip: float,
) -> Float[Array, ""]:
    """Returns the mean over examples of the larger of two divergences, in nats.

    Which one is larger is decided for each example by itself (AlphaNet, Wang
    2021), as in the published code, which prefers the second where they are equal.

    Args:
        student: Logits that learn.
        teacher: Logits that are learnt from.
        alphas: Of both.
        clip: As of `alpha_divergence`.
    """
    first, second = (
        alpha_divergence(student, teacher, alpha=alpha, clip=clip) for alpha in alphas
    )
    return jnp.mean(jnp.where(first > second, first, second))


def adaptive_loss(
    student: Array | Mapping[str, Array],
    teacher: Array | Mapping[str, Array],
    *,
    alphas: tuple[float, float],
    clip: float,
) -> Float[Array, ""]:
    """Returns the adaptive divergence summed over tasks, in nats."""
    one = functools.partial(adaptive_divergence, alphas=alphas, clip=clip)
    return sum_over_tasks(one, student, teacher)
