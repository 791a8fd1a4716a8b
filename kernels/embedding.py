"""Elastic embedding: look tokens up, and score them with the same table."""

from jaxtyping import Array, Float, Int

from kernels.extents import Extent, restrict


def embed(
    tokens: Int[Array, "*batch"],
    table: Float[Array, "vocabulary all_features"],
    features: Extent,
) -> Float[Array, "*batch features"]:
    """Returns the active features of each token's row."""
    return restrict(table, features, axis=1)[tokens]


def attend(
    x: Float[Array, "*batch features"],
    table: Float[Array, "vocabulary all_features"],
    features: Extent,
) -> Float[Array, "*batch vocabulary"]:
    """Returns the product with every token's row: logits of a tied output head."""
    return x @ restrict(table, features, axis=1).T
