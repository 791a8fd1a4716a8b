"""Elastic token embedding, usable as a tied output head."""

from flax import nnx
from jaxtyping import Array, Float, Int

from kernels.embedding import attend, embed
from supernets.layers.quantization import Quantization
from supernets.layers.schemes import quantized, weight_quantizers
from supernets.lowering import Dimension, LayerExtents, extent_of, full_size


class ElasticEmbedding(nnx.Module):
    """A table of token vectors with an elastic width.

    Args:
        vocabulary: Number of tokens.
        features: Choice or fixed size of the vectors.
        quantization: How many bits the table has, if it is quantised. As a head, each
            token is one of its outputs.
        rngs: Source of the initial weights.
    """

    def __init__(
        self,
        vocabulary: int,
        features: Dimension,
        *,
        quantization: Quantization | None = None,
        rngs: nnx.Rngs,
    ) -> None:
        self.features = features
        # Unit-variance tied logits at the start: with the customary 0.02 a short run
        # spends most of its steps growing the table.
        width = full_size(features)
        init = nnx.initializers.normal(stddev=width**-0.5)
        self.table = nnx.Param(init(rngs.params(), (vocabulary, width)))
        self.table_quantizers = weight_quantizers(
            self.table[...],
            quantization,
            inputs=(features,),
            outputs=(vocabulary,),
            is_transposed=True,
            rngs=rngs,
        )

    def __call__(
        self, tokens: Int[Array, "*batch"], extents: LayerExtents
    ) -> Float[Array, "*batch features"]:
        """Looks tokens up."""
        return embed(tokens, self._table(extents), extent_of(self.features, extents))

    def attend(
        self, x: Float[Array, "*batch features"], extents: LayerExtents
    ) -> Float[Array, "*batch vocabulary"]:
        """Scores every token."""
        return attend(x, self._table(extents), extent_of(self.features, extents))

    def _table(self, extents: LayerExtents) -> Float[Array, "vocabulary features"]:
        return quantized(self.table[...], self.table_quantizers, extents)

    def dimensions(self) -> dict[str, tuple[Dimension, ...]]:
        """Returns the dimension of each axis of each weight."""
        return {"table": (self.table.shape[0], self.features)}
