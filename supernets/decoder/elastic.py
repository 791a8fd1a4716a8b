"""The decoder supernet."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from supernets.decoder.spec import ROTARY_BASE, Decoder
from supernets.depth import after_each_depth, run_layers
from supernets.layers import ElasticEmbedding, make_norm
from supernets.losses.loss import Outputs
from supernets.lowering import Extents, extent_of, full_size, outside_layers
from supernets.network import padded_features
from supernets.regularization import Noise, with_dropout
from supernets.transformer.elastic import elastic_blocks, outer_quantization


class ElasticDecoder(nnx.Module):
    """A weight-entangled decoder: every subnet is a set of prefixes of its weights."""

    def __init__(self, spec: Decoder, *, rngs: nnx.Rngs) -> None:
        space = spec.space()
        width = space.choice("width")
        self.depth = space.depth
        self.width = width
        outer = outer_quantization(spec.stack)
        self.embedding = ElasticEmbedding(
            spec.vocabulary, width, quantization=outer, rngs=rngs
        )
        self.blocks = nnx.List(
            elastic_blocks(spec.stack, causal=True, rotary_base=ROTARY_BASE, rngs=rngs)
        )
        self.norm = make_norm(spec.norm, width)

    def __call__(
        self, inputs: Int[Array, "batch tokens"], extents: Extents
    ) -> Float[Array, "batch tokens vocabulary"]:
        """Returns next-token logits of the subnet that the extents select."""
        x = self._through_layers(inputs, extents)
        outer = outside_layers(extents)
        logits = self.embedding.attend(self.norm(x, outer), outer)
        return logits.reshape(*inputs.shape, -1)

    def outputs(
        self,
        inputs: Int[Array, "batch tokens"],
        extents: Extents,
        *,
        noise: Noise | None = None,
    ) -> Outputs:
        """Returns next-token logits, and the features they are read from."""
        x = self._through_layers(inputs, extents, noise)
        return self._read(x, inputs.shape, extents)

    def exits(
        self, inputs: Int[Array, "batch tokens"], extents: Extents
    ) -> tuple[Outputs, ...]:
        """Returns the outputs after each choice of depth, fewest layers first."""
        x = self._embedded(inputs, extents)
        states = after_each_depth(
            self.blocks, x, extents, self.depth, tokens=inputs.shape[1]
        )
        return tuple(self._read(state, inputs.shape, extents) for state in states)

    def _through_layers(
        self,
        inputs: Int[Array, "batch tokens"],
        extents: Extents,
        noise: Noise | None = None,
    ) -> Float[Array, "rows features"]:
        x = with_dropout(self._embedded(inputs, extents), noise)
        return run_layers(self.blocks, x, extents, tokens=inputs.shape[1], noise=noise)

    def _embedded(
        self, inputs: Int[Array, "batch tokens"], extents: Extents
    ) -> Float[Array, "rows features"]:
        return self.embedding(jnp.ravel(inputs), outside_layers(extents))

    def _read(
        self, x: Float[Array, "rows features"], shape: Sequence[int], extents: Extents
    ) -> Outputs:
        """Reads the head, of flattened tokens of the given shape."""
        outer = outside_layers(extents)
        x = self.norm(x, outer)
        logits = self.embedding.attend(x, outer)
        features = extent_of(self.width, outer)
        return Outputs(
            logits.reshape(*shape, -1),
            *padded_features(x.reshape(*shape, -1), features, full_size(self.width)),
        )
