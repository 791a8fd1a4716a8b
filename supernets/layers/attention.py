"""Elastic multi-head and grouped-query self-attention."""

import dataclasses

from flax import nnx
from jaxtyping import Array, Float

from kernels.attention import HEAD_AXES, AttentionWeights, attention_call
from kernels.dispatch import run
from kernels.extents import gated
from kernels.operation import Call
from supernets.lowering import (
    Dimension,
    LayerExtents,
    Scaled,
    extent_of,
    full_size,
)


class ElasticAttention(nnx.Module):
    """Self-attention with an elastic number of heads.

    Args:
        features: Choice or fixed size of the model width.
        heads: Choice or fixed number of query heads; 0 skips the layer.
        head_dim: Size of a head; it is not elastic, and even with rotary positions.
        group: Query heads per key-value head; 1 is multi-head attention.
        causal: Whether a position sees only those up to its own.
        rotary_base: Base of the rotary frequencies; none leaves positions to the input.
        output_scale: Standard deviation of the output projection, relative to default.
        rngs: Source of the initial weights.
    """

    def __init__(
        self,
        features: Dimension,
        heads: Dimension,
        *,
        head_dim: int,
        group: int = 1,
        causal: bool = True,
        rotary_base: float | None = 10_000.0,
        output_scale: float = 1.0,
        rngs: nnx.Rngs,
    ) -> None:
        self.features = features
        self.heads = heads
        self.causal = causal
        self.rotary_base = rotary_base
        width, count = full_size(features), full_size(heads)
        init = nnx.initializers.normal(stddev=width**-0.5)
        out = nnx.initializers.normal(stddev=output_scale * (count * head_dim) ** -0.5)
        kv_shape = (width, count // group, head_dim)
        self.query = nnx.Param(init(rngs.params(), (width, count, head_dim)))
        self.key = nnx.Param(init(rngs.params(), kv_shape))
        self.value = nnx.Param(init(rngs.params(), kv_shape))
        self.output = nnx.Param(out(rngs.params(), (count, head_dim, width)))

    def __call__(
        self,
        x: Float[Array, "rows features"],
        extents: LayerExtents,
        *,
        tokens: int,
    ) -> Float[Array, "rows features"]:
        """Attends within sequences of ``tokens`` rows; zero in a skipped layer."""
        return run(self.call(extents, tokens=tokens), x)

    def call(self, extents: LayerExtents, *, tokens: int) -> Call:
        """Returns the operation without its input."""
        return attention_call(
            AttentionWeights(
                self.query[...], self.key[...], self.value[...], self.output[...]
            ),
            extent_of(self.features, extents),
            gated(extent_of(self.heads, extents), extents["depth"]),
            tokens=tokens,
            causal=self.causal,
            rotary_base=self.rotary_base,
        )

    def dimensions(self) -> dict[str, tuple[Dimension, ...]]:
        """Returns the dimension of each axis of each weight."""
        shared = _divided(self.heads, self.query.shape[1] // self.key.shape[1])
        size = self.query.shape[2]
        return {
            "query": (self.features, self.heads, size),
            "key": (self.features, shared, size),
            "value": (self.features, shared, size),
            "output": (self.heads, size, self.features),
        }

    def unit_axes(self) -> dict[str, int]:
        """Returns the axis of heads of each weight."""
        return HEAD_AXES


def _divided(heads: Dimension, group: int) -> Dimension:
    """Returns the dimension of key-value heads."""
    if isinstance(heads, Scaled):
        return dataclasses.replace(heads, divisor=heads.divisor * group)
    return Scaled(heads, 1, group)
