"""Weights spread evenly lose little when they are rounded (EQ-Net, Xu 2023)."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from supernets.layers.quantizers import SUFFIX
from supernets.weights import Params

UNIFORM_KURTOSIS = 1.8
"""Of numbers spread evenly over an interval; 3 of normally distributed ones."""


class Moments(NamedTuple):
    """Standardised third and fourth moments."""

    skewness: Float[Array, ""]
    kurtosis: Float[Array, ""]


def standardized_moments(weight: Float[Array, "*shape"]) -> Moments:
    """Returns the mean third and fourth power of z-scores.

    Weights that are all the same have none: their moments count as those of an even
    spread, and have no gradient.
    """
    centred = weight.astype(jnp.float32) - jnp.mean(weight.astype(jnp.float32))
    variance = jnp.mean(centred**2)
    spread = variance > 0
    z = centred * jnp.where(spread, variance, 1.0) ** -0.5
    return Moments(
        jnp.where(spread, jnp.mean(z**3), 0.0),
        jnp.where(spread, jnp.mean(z**4), UNIFORM_KURTOSIS),
    )


def elastic_weights(params: Params) -> list[Float[Array, "..."]]:
    """Returns the weights of layers whose bits are elastic.

    Those outside the layers, as the embedding, are left out as EQ-Net leaves out the
    first and the last layer.

    Args:
        params: Of a supernet.
    """
    flat = dict(nnx.to_flat_state(params))
    quantizers = {
        path[: place + 1]
        for path in flat
        for place, part in enumerate(path)
        if str(part).endswith(SUFFIX)
    }
    return [
        variable[...]
        for path, variable in flat.items()
        if any(isinstance(part, int) for part in path)
        and (*path[:-1], f"{path[-1]}{SUFFIX}") in quantizers
    ]


def weight_distribution_loss(
    weights: Sequence[Float[Array, "..."]],
    *,
    skewness: float = 1.0,
    kurtosis: float = 1.0,
) -> Float[Array, ""]:
    """Returns how far weights are from an even spread around their mean.

    ``(1/L) sum_l |Skew(W_l)|**2 + |Kurt(W_l) - 1.8|**2`` (EQ-Net, WDR loss). An even
    spread suffers least where the scale is not at its best. EQ-Net leaves out the first
    layer, and its code counts the kurtosis for 0.015.

    Args:
        weights: One of each layer that is quantised, full size.
        skewness: Share of the first term.
        kurtosis: Share of the second.

    Raises:
        ValueError: If there are no weights.
    """
    if not weights:
        raise ValueError("no weights to shape: give those of the quantised layers")
    terms = []
    for weight in weights:
        found = standardized_moments(weight)
        terms.append(
            skewness * found.skewness**2
            + kurtosis * (found.kurtosis - UNIFORM_KURTOSIS) ** 2
        )
    return jnp.mean(jnp.stack(terms))
