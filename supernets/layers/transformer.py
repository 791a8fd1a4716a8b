"""Elastic pre-norm transformer block."""

from typing import Literal

from flax import nnx
from jaxtyping import Array, Float

from kernels.dispatch import run
from kernels.extents import Fixed, Mixed
from kernels.mixtures import mixture, shielded
from kernels.residual import residual
from supernets.layers.attention import ElasticAttention
from supernets.layers.feed_forward import ElasticFeedForward
from supernets.layers.normalization import ElasticLayerNorm, ElasticRmsNorm
from supernets.lowering import Dimension, LayerExtents

Norm = Literal["rms", "layer"]


class ElasticBlock(nnx.Module):
    """Attention and a feed-forward network, each added to the residual stream.

    A skipped layer adds nothing: its heads and hidden units are size 0. A soft gate
    averages what the block gives and what it is given; soft sizes would not do that,
    since heads are inside a softmax.
    """

    def __init__(
        self,
        features: Dimension,
        heads: Dimension,
        hidden: Dimension,
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
        gate = extents["depth"]
        if isinstance(gate, Mixed):
            read = self, x, {**extents, "depth": Fixed(1)}
            block, inputs, seen = shielded(read, gate.weights[1] != 0)
            y = block(inputs, seen, tokens=tokens)
            return mixture((x, y), gate.weights)
        attention = self.attention.call(extents, tokens=tokens)
        x = run(residual(self.attention_norm.call(extents), attention), x)
        feed_forward = self.feed_forward.call(extents)
        return run(residual(self.feed_forward_norm.call(extents), feed_forward), x)
