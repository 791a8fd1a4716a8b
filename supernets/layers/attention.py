"""Elastic multi-head and grouped-query self-attention."""

import dataclasses

from flax import nnx
from jaxtyping import Array, Float

from kernels.attention import HEAD_AXES, AttentionWeights, attention_call
from kernels.dispatch import run
from kernels.extents import gated, largest_size
from kernels.operation import Call
from supernets.layers.quantization import Quantization
from supernets.layers.rounding import activation_rounding, rounded_as
from supernets.layers.schemes import WeightQuantizers, quantized, weight_quantizers
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
        quantization: How many bits there are, if that is elastic.
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
        quantization: Quantization | None = None,
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
        shared = _divided(heads, group)

        def quantizers(
            weight: Array,
            inputs: tuple[Dimension, ...],
            outputs: tuple[Dimension, ...],
        ) -> WeightQuantizers | None:
            return weight_quantizers(
                weight,
                quantization,
                inputs=inputs,
                outputs=outputs,
                read_by=heads,
                rngs=rngs,
            )

        into = (features,)
        self.query_quantizers = quantizers(self.query[...], into, (heads, head_dim))
        self.key_quantizers = quantizers(self.key[...], into, (shared, head_dim))
        self.value_quantizers = quantizers(self.value[...], into, (shared, head_dim))
        self.output_quantizers = quantizers(self.output[...], (heads, head_dim), into)
        self.input_rounding = activation_rounding(quantization, read_by=heads)
        self.mixed_rounding = activation_rounding(quantization, read_by=heads)

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
        merged = full_size(self.heads) * self.query.shape[2]
        return attention_call(
            AttentionWeights(
                quantized(self.query[...], self.query_quantizers, extents),
                quantized(self.key[...], self.key_quantizers, extents),
                quantized(self.value[...], self.value_quantizers, extents),
                quantized(self.output[...], self.output_quantizers, extents),
                rounded_as(self.input_rounding, extents, self.features),
                rounded_as(self.mixed_rounding, extents, merged),
            ),
            extent_of(self.features, extents),
            gated(extent_of(self.heads, extents), extents["depth"]),
            tokens=tokens,
            causal=self.causal,
            rotary_base=self.rotary_base,
        )

    def calibrate(
        self, x: Float[Array, "rows features"], extents: LayerExtents, *, tokens: int
    ) -> None:
        """Sets the scales of what its weights multiply, in place.

        Args:
            x: What it reads.
            extents: Of the largest subnet, in which nothing is rounded.
            tokens: Of a sequence.
        """
        if self.input_rounding is None or self.mixed_rounding is None:
            return
        operation, found, weights = self.call(extents, tokens=tokens)
        sizes = tuple(largest_size(extent) for extent in found)
        *_, merged = operation.forward(sizes, x, weights)[1]
        self.input_rounding.calibrate(x)
        self.mixed_rounding.calibrate(merged)

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
