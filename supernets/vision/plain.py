"""The plain vision transformer that a subnet becomes: standard layers."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from supernets.norms import Norm
from supernets.quantization.plain_parts import outer_parts
from supernets.quantization.plain_precision import PlainPrecision
from supernets.transformer.plain import fields_from_json, plain_blocks, plain_norm
from supernets.vision.patches import patches_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlainVisionTransformerConfig:
    """Sizes of a plain vision transformer; heads and ffn have one entry for each layer.

    An entry of 0 is of a layer without attention, or without a feed-forward network.
    """

    image: tuple[int, int, int]
    patch: int
    classes: int
    pooling: Literal["mean", "token"]
    width: int
    head_dim: int
    heads: tuple[int, ...]
    ffn: tuple[int, ...]
    gated: bool
    norm: Norm
    precision: PlainPrecision | None = None
    """Bits of weights and activations; weights are float32 without."""

    @property
    def kv_heads(self) -> tuple[int, ...]:
        """Key-value heads: each head has its own."""
        return self.heads

    @property
    def tokens(self) -> int:
        """Length of the sequence: the patches, and a class token if there is one."""
        patches = self.image[0] * self.image[1] // self.patch**2
        return patches + (self.pooling == "token")

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "PlainVisionTransformerConfig":
        """Rebuilds a config from the JSON of its fields, where tuples are lists.

        Raises:
            TypeError: If a field is missing or unknown.
            ValueError: If bits are wrong.
        """
        return cls(**fields_from_json(stored))

    def build(self, *, rngs: nnx.Rngs) -> "PlainVisionTransformer":
        """Returns the network with initial weights."""
        return PlainVisionTransformer(self, rngs=rngs)


class PlainVisionTransformer(nnx.Module):
    """An image classifier.

    Args:
        config: Its sizes.
        rngs: Source of the initial weights.
    """

    def __init__(self, config: PlainVisionTransformerConfig, *, rngs: nnx.Rngs) -> None:
        width, tokens = config.width, config.tokens
        values = config.patch**2 * config.image[2]
        self.patch = config.patch
        self.tokens = tokens
        outer = outer_parts(config.precision)
        self.patch_embedding = outer.linear(values, width, use_bias=True, rngs=rngs)
        init = nnx.initializers.normal(stddev=0.02)
        self.class_token = (
            nnx.Param(init(rngs.params(), (width,)))
            if config.pooling == "token"
            else nnx.data(None)
        )
        self.positions = nnx.Param(init(rngs.params(), (tokens, width)))
        self.blocks = nnx.List(
            plain_blocks(
                config,
                causal=False,
                rotary_base=None,
                precision=config.precision,
                rngs=rngs,
            )
        )
        self.norm = plain_norm(config.norm, width, rngs=rngs)
        self.head = outer.linear(width, config.classes, use_bias=True, rngs=rngs)

    def __call__(
        self, images: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch classes"]:
        """Returns the logits."""
        x = self.patch_embedding(patches_of(images, self.patch))
        batch, _, width = x.shape
        if self.class_token is not None:
            first = jnp.broadcast_to(self.class_token[None, None], (batch, 1, width))
            x = jnp.concatenate([first, x], axis=1)
        x = (x + self.positions[None]).reshape(batch * self.tokens, width)
        for block in self.blocks:
            x = block(x, tokens=self.tokens)
        x = x.reshape(batch, self.tokens, width)
        if self.class_token is None:
            return self.head(jnp.mean(self.norm(x), axis=1))
        return self.head(self.norm(x[:, 0]))
