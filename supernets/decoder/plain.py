"""The plain decoder that a subnet becomes: standard layers, no elastic code."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from supernets.norms import Norm
from supernets.quantization.plain_parts import outer_parts
from supernets.quantization.plain_precision import PlainPrecision
from supernets.transformer.plain import fields_from_json, plain_blocks, plain_norm


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlainDecoderConfig:
    """Sizes of a plain decoder; heads and ffn have one entry for each layer.

    An entry of 0 is of a layer without attention, or without a feed-forward network.
    """

    vocabulary: int
    width: int
    head_dim: int
    heads: tuple[int, ...]
    kv_heads: tuple[int, ...]
    ffn: tuple[int, ...]
    gated: bool
    norm: Norm
    rotary_base: float = 10_000.0
    precision: PlainPrecision | None = None
    """Bits of weights and activations; weights are float32 without."""

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "PlainDecoderConfig":
        """Rebuilds a config from the JSON of its fields, where tuples are lists.

        Raises:
            TypeError: If a field is missing or unknown.
            ValueError: If bits are wrong.
        """
        return cls(**fields_from_json(stored))

    def build(self, *, rngs: nnx.Rngs) -> "PlainDecoder":
        """Returns the network with initial weights."""
        return PlainDecoder(self, rngs=rngs)


class PlainDecoder(nnx.Module):
    """A decoder language model with tied embeddings.

    Args:
        config: Its sizes.
        rngs: Source of the initial weights.
    """

    def __init__(self, config: PlainDecoderConfig, *, rngs: nnx.Rngs) -> None:
        outer = outer_parts(config.precision)
        self.embedding = outer.embedding(config.vocabulary, config.width, rngs=rngs)
        self.blocks = nnx.List(
            plain_blocks(
                config,
                causal=True,
                rotary_base=config.rotary_base,
                precision=config.precision,
                rngs=rngs,
            )
        )
        self.norm = plain_norm(config.norm, config.width, rngs=rngs)

    def __call__(
        self, tokens: Int[Array, "batch tokens"]
    ) -> Float[Array, "batch tokens vocabulary"]:
        """Returns next-token logits."""
        batch, length = tokens.shape
        x = self.embedding(jnp.ravel(tokens))
        for block in self.blocks:
            x = block(x, tokens=length)
        return self.embedding.attend(self.norm(x)).reshape(batch, length, -1)
