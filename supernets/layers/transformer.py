"""Elastic pre-norm transformer block."""

from typing import Literal

from flax import nnx
from jaxtyping import Array, Float

from search.space import Choice
from supernets.layers.attention import ElasticAttention
from supernets.layers.feed_forward import ElasticFeedForward
from supernets.layers.normalization import ElasticLayerNorm, ElasticRmsNorm
from supernets.lowering import LayerExtents

Norm = Literal["rms", "layer"]


class ElasticBlock(nnx.Module):
    """Attention and a feed-forward network, each added to the residual stream.

    A skipped layer adds nothing, so depth needs no code of its own here.
    """

    def __init__(
        self,
        features: Choice | int,
        heads: Choice | int,
        hidden: Choice | int,
        *,
        head_dim: int,
        group: int = 1,
        use_gate: bool = True,
        norm: Norm = "rms",
        output_scale: float = 1.0,
        rngs: nnx.Rngs,
    ) -> None:
        make_norm = ElasticRmsNorm if norm == "rms" else ElasticLayerNorm
        self.attention_norm = make_norm(features)
        self.attention = ElasticAttention(
            features,
            heads,
            head_dim=head_dim,
            group=group,
            output_scale=output_scale,
            rngs=rngs,
        )
        self.feed_forward_norm = make_norm(features)
        self.feed_forward = ElasticFeedForward(
            features,
            hidden,
            use_gate=use_gate,
            output_scale=output_scale,
            rngs=rngs,
        )

    def __call__(
        self,
        x: Float[Array, "rows features"],
        extents: LayerExtents,
        *,
        tokens: int,
    ) -> Float[Array, "rows features"]:
        """Transforms flattened sequences of ``tokens`` rows each."""
        normalised = self.attention_norm(x, extents)
        x = x + self.attention(normalised, extents, tokens=tokens)
        return x + self.feed_forward(self.feed_forward_norm(x, extents), extents)
