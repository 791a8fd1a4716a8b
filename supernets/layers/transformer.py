"""Elastic pre-norm transformer block."""

from flax import nnx
from jaxtyping import Array, Float

from kernels.dispatch import run
from kernels.extents import Fixed, Mixed
from kernels.mixtures import mixture, shielded
from kernels.residual import residual
from supernets.layers.attention import ElasticAttention
from supernets.layers.feed_forward import ElasticFeedForward
from supernets.layers.normalization import make_norm
from supernets.layers.quantization import Quantization
from supernets.lowering import Dimension, LayerExtents
from supernets.norms import Norm


class ElasticBlock(nnx.Module):
    """Attention and a feed-forward network, each added to the residual stream.

    A skipped layer adds nothing: its heads and hidden units are size 0. Either half is
    skipped, with its norm, where its own size is 0. A soft gate averages what the block
    gives and what it is given; soft sizes would not do that, since heads are inside a
    softmax.

    Args:
        features: Choice or fixed size of the model width.
        heads: Choice or fixed number of query heads.
        hidden: Choice or fixed number of hidden units.
        head_dim: Size of a head.
        group: Query heads per key-value head.
        causal: Whether a position sees only those up to its own.
        rotary_base: Base of the rotary frequencies; none for no rotary positions.
        use_gate: Gated (SwiGLU) feed-forward network if true, else plain (GELU).
        norm: Kind of the norms.
        output_scale: Standard deviation of the projections that add to the residual
            stream, relative to default.
        quantization: How many bits there are, if that is elastic.
        rngs: Source of the initial weights.
    """

    def __init__(
        self,
        features: Dimension,
        heads: Dimension,
        hidden: Dimension,
        *,
        head_dim: int,
        group: int = 1,
        causal: bool = True,
        rotary_base: float | None = 10_000.0,
        use_gate: bool = True,
        norm: Norm = "rms",
        output_scale: float = 1.0,
        quantization: Quantization | None = None,
        rngs: nnx.Rngs,
    ) -> None:
        self.attention_norm = make_norm(norm, features, read_by=heads)
        self.attention = ElasticAttention(
            features,
            heads,
            head_dim=head_dim,
            group=group,
            causal=causal,
            rotary_base=rotary_base,
            output_scale=output_scale,
            quantization=quantization,
            rngs=rngs,
        )
        self.feed_forward_norm = make_norm(norm, features, read_by=hidden)
        self.feed_forward = ElasticFeedForward(
            features,
            hidden,
            use_gate=use_gate,
            output_scale=output_scale,
            quantization=quantization,
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
