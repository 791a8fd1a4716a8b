"""Learned vectors that join a sequence: position embeddings, and a class token."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from kernels.extents import restrict
from supernets.lowering import Dimension, LayerExtents, extent_of, full_size

STDDEV = 0.02
"""Of the initial vectors (Dosovitskiy 2021, whose code follows BERT's)."""


class ElasticPositions(nnx.Module):
    """A learned vector for each position, with an elastic width.

    Args:
        tokens: Number of positions.
        features: Choice or fixed size of the vectors.
        rngs: Source of the initial weights.
    """

    def __init__(self, tokens: int, features: Dimension, *, rngs: nnx.Rngs) -> None:
        self.features = features
        init = nnx.initializers.normal(stddev=STDDEV)
        self.table = nnx.Param(init(rngs.params(), (tokens, full_size(features))))

    def __call__(
        self, x: Float[Array, "batch tokens features"], extents: LayerExtents
    ) -> Float[Array, "batch tokens features"]:
        """Adds each position's vector to sequences of all positions."""
        added = restrict(self.table[...], extent_of(self.features, extents), axis=1)
        return x + added[None].astype(x.dtype)

    def dimensions(self) -> dict[str, tuple[Dimension, ...]]:
        """Returns the dimension of each axis of each weight."""
        return {"table": (self.table.shape[0], self.features)}


class ElasticToken(nnx.Module):
    """A learned token in front of every sequence, with an elastic width.

    Args:
        features: Choice or fixed size of its vector.
        rngs: Source of the initial weights.
    """

    def __init__(self, features: Dimension, *, rngs: nnx.Rngs) -> None:
        self.features = features
        init = nnx.initializers.normal(stddev=STDDEV)
        self.vector = nnx.Param(init(rngs.params(), (full_size(features),)))

    def __call__(
        self, x: Float[Array, "batch tokens features"], extents: LayerExtents
    ) -> Float[Array, "batch more_tokens features"]:
        """Puts the token first."""
        features = extent_of(self.features, extents)
        vector = restrict(self.vector[...], features, axis=0).astype(x.dtype)
        first = jnp.broadcast_to(vector[None, None], (x.shape[0], 1, x.shape[2]))
        return jnp.concatenate([first, x], axis=1)

    def dimensions(self) -> dict[str, tuple[Dimension, ...]]:
        """Returns the dimension of each axis of each weight."""
        return {"vector": (self.features,)}
