"""The decoder supernet."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from supernets.decoder.spec import Decoder
from supernets.depth import run_layers
from supernets.layers import (
    ElasticBlock,
    ElasticEmbedding,
    ElasticLayerNorm,
    ElasticRmsNorm,
)
from supernets.lowering import Extents, outside_layers


class ElasticDecoder(nnx.Module):
    """A weight-entangled decoder: every subnet is a set of prefixes of its weights.

    Layers are a list, not a stack: unrolled layers train faster than a scan over
    stacked weights on a CPU, and an extracted subnet just takes the ones it keeps.
    """

    def __init__(self, spec: Decoder, *, rngs: nnx.Rngs) -> None:
        space = spec.space()
        width, heads, ffn = (space.choice(n) for n in ("width", "heads", "ffn"))
        self.embedding = ElasticEmbedding(spec.vocabulary, width, rngs=rngs)
        self.blocks = nnx.List(
            ElasticBlock(
                width,
                heads,
                ffn,
                head_dim=spec.head_dim,
                group=spec.group,
                use_gate=spec.gated,
                norm=spec.norm,
                output_scale=(2 * spec.layers) ** -0.5,
                rngs=rngs,
            )
            for _ in range(spec.layers)
        )
        make_norm = ElasticRmsNorm if spec.norm == "rms" else ElasticLayerNorm
        self.norm = make_norm(width)

    def __call__(
        self, tokens: Int[Array, "batch tokens"], extents: Extents
    ) -> Float[Array, "batch tokens vocabulary"]:
        """Returns next-token logits of the subnet that the extents select."""
        batch, length = tokens.shape
        outer = outside_layers(extents)
        x = self.embedding(jnp.ravel(tokens), outer)
        x = run_layers(self.blocks, x, extents, tokens=length)
        logits = self.embedding.attend(self.norm(x, outer), outer)
        return logits.reshape(batch, length, -1)
