"""How far the features of a subnet are from those of another."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from supernets.losses.loss import Outputs

LEAST = 1e-6
"""Added to squared lengths, for features that are all zero."""


def feature_distance(student: Outputs, teacher: Outputs) -> Float[Array, ""]:
    """Returns the mean squared distance of normalised features, 0 to 4.

    The entries that are active in both networks are compared, since their weights are
    the same ones. Each vector is brought to length 1 on these, so that the distance is
    twice one minus the cosine, and the width of the subnet is no scale.

    Args:
        student: Of the network that learns.
        teacher: Of the one that is learnt from; it gets no gradient.
    """
    shared = jax.lax.stop_gradient(student.active * teacher.active)
    learnt_from = jax.lax.stop_gradient(teacher.features)
    # In one operation, whose rounding is the same for both: equals are 0 apart.
    ours, theirs = _normalised(jnp.stack([student.features, learnt_from]), shared)
    return jnp.mean(jnp.sum((ours - theirs) ** 2, axis=-1))


def _normalised(
    features: Float[Array, "*batch features"], active: Float[Array, " features"]
) -> Float[Array, "*batch features"]:
    kept = features * jnp.expand_dims(active, range(features.ndim - 1))
    squared = jnp.sum(kept**2, axis=-1, keepdims=True)
    return kept * jax.lax.rsqrt(squared + LEAST)
