"""Elastic token embedding, usable as a tied output head."""

from flax import nnx
from jaxtyping import Array, Float, Int

from kernels.embedding import attend, embed
from supernets.lowering import Dimension, LayerExtents, extent_of, full_size


class ElasticEmbedding(nnx.Module):
    """A table of token vectors with an elastic width.

    Args:
        vocabulary: Number of tokens.
        features: Choice or fixed size of the vectors.
        rngs: Source of the initial weights.
    """

    def __init__(self, vocabulary: int, features: Dimension, *, rngs: nnx.Rngs) -> None:
        self.features = features
        # Unit-variance tied logits at the start: with the customary 0.02 a short run
        # spends most of its steps growing the table.
        width = full_size(features)
        init = nnx.initializers.normal(stddev=width**-0.5)
        self.table = nnx.Param(init(rngs.params(), (vocabulary, width)))

    def __call__(
        self, tokens: Int[Array, "*batch"], extents: LayerExtents
    ) -> Float[Array, "*batch features"]:
        """Looks tokens up."""
        return embed(tokens, self.table[...], extent_of(self.features, extents))

    def attend(
        self, x: Float[Array, "*batch features"], extents: LayerExtents
    ) -> Float[Array, "*batch vocabulary"]:
        """Scores every token."""
        return attend(x, self.table[...], extent_of(self.features, extents))

    def dimensions(self) -> dict[str, tuple[Dimension, ...]]:
        """Returns the dimension of each axis of each weight."""
        return {"table": (self.table.shape[0], self.features)}
