"""The plain decoder that a subnet becomes: standard layers, no elastic code."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from kernels.causal import causal_attention
from kernels.rotary import rotary_angles, rotate


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlainDecoderConfig:
    """Sizes of a plain decoder; heads and ffn have one entry for each layer."""

    vocabulary: int
    width: int
    head_dim: int
    heads: tuple[int, ...]
    kv_heads: tuple[int, ...]
    ffn: tuple[int, ...]
    gated: bool
    norm: Literal["rms", "layer"]
    rotary_base: float = 10_000.0

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "PlainDecoderConfig":
        """Rebuilds a config from the JSON of its fields, where tuples are lists.

        Raises:
            TypeError: If a field is missing or unknown.
        """
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in stored.items()
        }
        return cls(**fields)


class PlainAttention(nnx.Module):
    """Causal self-attention with rotary positions."""

    def __init__(
        self, config: PlainDecoderConfig, layer: int, *, rngs: nnx.Rngs
    ) -> None:
        self.head_dim = config.head_dim
        self.rotary_base = config.rotary_base
        heads = config.heads[layer] * config.head_dim
        shared = config.kv_heads[layer] * config.head_dim
        self.query = nnx.Linear(config.width, heads, use_bias=False, rngs=rngs)
        self.key = nnx.Linear(config.width, shared, use_bias=False, rngs=rngs)
        self.value = nnx.Linear(config.width, shared, use_bias=False, rngs=rngs)
        self.output = nnx.Linear(heads, config.width, use_bias=False, rngs=rngs)

    def __call__(
        self, x: Float[Array, "rows width"], *, tokens: int
    ) -> Float[Array, "rows width"]:
        """Attends within sequences of ``tokens`` rows."""
        angles = rotary_angles(tokens, self.head_dim, self.rotary_base)
        query = rotate(self._split(self.query(x), tokens), angles)
        key = rotate(self._split(self.key(x), tokens), angles)
        value = self._split(self.value(x), tokens)
        mixed = causal_attention(query, key, value)
        return self.output(mixed.transpose(0, 2, 1, 3).reshape(x.shape[0], -1))

    def _split(
        self, x: Float[Array, "rows features"], tokens: int
    ) -> Float[Array, "batch heads tokens head_dim"]:
        return x.reshape(
            -1, tokens, x.shape[-1] // self.head_dim, self.head_dim
        ).transpose(0, 2, 1, 3)


class PlainFeedForward(nnx.Module):
    """Gated (SwiGLU) or plain (GELU) feed-forward network."""

    def __init__(
        self, config: PlainDecoderConfig, layer: int, *, rngs: nnx.Rngs
    ) -> None:
        width, hidden = config.width, config.ffn[layer]
        self.up = nnx.Linear(width, hidden, use_bias=False, rngs=rngs)
        self.down = nnx.Linear(hidden, width, use_bias=False, rngs=rngs)
        self.gate = (
            nnx.Linear(width, hidden, use_bias=False, rngs=rngs)
            if config.gated
            else nnx.data(None)
        )

    def __call__(self, x: Float[Array, "rows width"]) -> Float[Array, "rows width"]:
        """Applies the network."""
        units = self.up(x)
        if self.gate is None:
            return self.down(nnx.gelu(units))
        return self.down(nnx.silu(self.gate(x)) * units)


def _norm(config: PlainDecoderConfig, *, rngs: nnx.Rngs) -> nnx.RMSNorm | nnx.LayerNorm:
    if config.norm == "rms":
        return nnx.RMSNorm(config.width, rngs=rngs)
    # Flax's fast variance, E[x^2] - E[x]^2, cancels where the mean is large.
    return nnx.LayerNorm(config.width, use_fast_variance=False, rngs=rngs)


class PlainBlock(nnx.Module):
    """Pre-norm transformer block."""

    def __init__(
        self, config: PlainDecoderConfig, layer: int, *, rngs: nnx.Rngs
    ) -> None:
        self.attention_norm = _norm(config, rngs=rngs)
        self.attention = PlainAttention(config, layer, rngs=rngs)
        self.feed_forward_norm = _norm(config, rngs=rngs)
        self.feed_forward = PlainFeedForward(config, layer, rngs=rngs)

    def __call__(
        self, x: Float[Array, "rows width"], *, tokens: int
    ) -> Float[Array, "rows width"]:
        """Transforms flattened sequences of ``tokens`` rows each."""
        x = x + self.attention(self.attention_norm(x), tokens=tokens)
        return x + self.feed_forward(self.feed_forward_norm(x))


class PlainDecoder(nnx.Module):
    """A decoder language model with tied embeddings.

    Args:
        config: Its sizes.
        rngs: Source of the initial weights.
    """

    def __init__(self, config: PlainDecoderConfig, *, rngs: nnx.Rngs) -> None:
        self.embedding = nnx.Embed(config.vocabulary, config.width, rngs=rngs)
        self.blocks = nnx.List(
            PlainBlock(config, layer, rngs=rngs) for layer in range(len(config.heads))
        )
        self.norm = _norm(config, rngs=rngs)

    def __call__(
        self, tokens: Int[Array, "batch tokens"]
    ) -> Float[Array, "batch tokens vocabulary"]:
        """Returns next-token logits."""
        batch, length = tokens.shape
        x = self.embedding(jnp.ravel(tokens))
        for block in self.blocks:
            x = block(x, tokens=length)
        return self.embedding.attend(self.norm(x)).reshape(batch, length, -1)
