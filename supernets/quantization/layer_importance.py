"""Which layers need many bits (layer-wise quantisation, arXiv 2406.17415).

Two scores of the layers of a trained network, and the bits that follow from them: a
share of the layers gets many, the others few.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

Z_SCORE = 1.0
"""Weights above it are counted."""


def input_modification(
    before: Float[Array, "*batch features"], after: Float[Array, "*batch features"]
) -> Float[Array, ""]:
    """Returns how much a layer changes what goes through it (LIM): -1 if not at all.

    ``-cos(in, out)``, the mean over tokens; the higher, the more important. A token
    whose features are all 0 counts as turned by a right angle.

    Args:
        before: What the layer was given, of some batches, on the residual stream.
        after: What it gave.
    """
    norms = jnp.linalg.norm(before, axis=-1) * jnp.linalg.norm(after, axis=-1)
    products = jnp.sum(before * after, axis=-1)
    cosines = jnp.where(norms > 0, products / jnp.where(norms > 0, norms, 1.0), 0.0)
    return -jnp.mean(cosines)


def outlier_share(weights: Sequence[Float[Array, "..."]]) -> Float[Array, ""]:
    """Returns the share of a layer's weights with a z-score above 1 (ZD).

    The lower, the more important, with no data needed. One-sided: it is 0.159 of
    normally distributed weights.

    Args:
        weights: All that the layer has.

    Raises:
        ValueError: If there are none.
    """
    if not weights:
        raise ValueError("a layer without weights has no share of outliers")
    flat = jnp.concatenate([weight.reshape(-1) for weight in weights])
    deviation = jnp.std(flat)
    return jnp.mean((flat - jnp.mean(flat) > Z_SCORE * deviation).astype(jnp.float32))


def importance_order(
    importance: Float[np.ndarray, " layers"],
) -> Int[np.ndarray, " layers"]:
    """Returns layers from the most important one on; the earlier first among equals.

    Args:
        importance: As `input_modification` says, or minus `outlier_share`.

    Raises:
        ValueError: If some is not a number.
    """
    if np.isnan(importance).any():
        layers = np.flatnonzero(np.isnan(importance)).tolist()
        raise ValueError(f"the importance of layers {layers} is not a number")
    return np.argsort(-importance, kind="stable").astype(np.int32)


def graded_bits(
    importance: Float[np.ndarray, " layers"], keep: int, *, high: int = 4, low: int = 2
) -> Int[np.ndarray, " layers"]:
    """Returns the bits of each layer: many for the most important ones.

    The paper finds 25 to 50 % of layers lowered with little loss, where an order at
    random allows 5 to 10 %.

    Args:
        importance: See `importance_order`.
        keep: Layers that get ``high`` bits.
        high: Bits of the important layers.
        low: Bits of the others.

    Raises:
        ValueError: If there are fewer layers than are kept, or bits are swapped.
    """
    layers = len(importance)
    if not 0 <= keep <= layers:
        raise ValueError(f"keep must lie in 0..{layers}, the layers, got {keep}")
    if low > high:
        raise ValueError(f"low bits must not exceed high bits, got {low} > {high}")
    bits = np.full(layers, low, np.int32)
    bits[importance_order(importance)[:keep]] = high
    return bits
