"""The vision transformer supernet."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from supernets.depth import after_each_depth, run_layers
from supernets.layers import ElasticLinear, ElasticPositions, ElasticToken, make_norm
from supernets.losses.loss import Outputs
from supernets.lowering import Extents, extent_of, full_size, outside_layers
from supernets.network import padded_features
from supernets.regularization import Noise, with_dropout
from supernets.transformer.elastic import elastic_blocks, outer_quantization
from supernets.vision.patches import patches_of
from supernets.vision.spec import VisionTransformer

Images = Float[Array, "batch height width channels"]
Rows = Float[Array, "rows features"]


class ElasticVisionTransformer(nnx.Module):
    """A weight-entangled image classifier: subnets are prefixes of its weights."""

    def __init__(self, spec: VisionTransformer, *, rngs: nnx.Rngs) -> None:
        space = spec.space()
        width = space.choice("width")
        self.depth = space.depth
        self.width = width
        self.patch = spec.patch
        self.tokens = spec.tokens
        outer = outer_quantization(spec.stack)
        self.patch_embedding = ElasticLinear(
            spec.patch_values, width, quantization=outer, rngs=rngs
        )
        self.class_token = (
            ElasticToken(width, rngs=rngs)
            if spec.pooling == "token"
            else nnx.data(None)
        )
        self.positions = ElasticPositions(spec.tokens, width, rngs=rngs)
        self.blocks = nnx.List(
            elastic_blocks(spec.stack, causal=False, rotary_base=None, rngs=rngs)
        )
        self.norm = make_norm(spec.norm, width)
        self.head = ElasticLinear(width, spec.classes, quantization=outer, rngs=rngs)

    def __call__(
        self, images: Images, extents: Extents
    ) -> Float[Array, "batch classes"]:
        """Returns the logits of the subnet that the extents select."""
        x = self._through_layers(images, extents)
        return self.head(self._pooled(x, extents), outside_layers(extents))

    def outputs(
        self, images: Images, extents: Extents, *, noise: Noise | None = None
    ) -> Outputs:
        """Returns logits, and the pooled features they are read from."""
        return self._read(self._through_layers(images, extents, noise), extents)

    def exits(self, images: Images, extents: Extents) -> tuple[Outputs, ...]:
        """Returns the outputs after each choice of depth, fewest layers first."""
        x = self._embedded(images, extents)
        states = after_each_depth(
            self.blocks, x, extents, self.depth, tokens=self.tokens
        )
        return tuple(self._read(state, extents) for state in states)

    def _through_layers(
        self, images: Images, extents: Extents, noise: Noise | None = None
    ) -> Rows:
        x = with_dropout(self._embedded(images, extents), noise)
        return run_layers(self.blocks, x, extents, tokens=self.tokens, noise=noise)

    def _embedded(self, images: Images, extents: Extents) -> Rows:
        outer = outside_layers(extents)
        x = self.patch_embedding(patches_of(images, self.patch), outer)
        if self.class_token is not None:
            x = self.class_token(x, outer)
        x = self.positions(x, outer)
        return x.reshape(images.shape[0] * self.tokens, x.shape[-1])

    def _pooled(self, x: Rows, extents: Extents) -> Float[Array, "batch features"]:
        """Returns what the head reads of flattened sequences."""
        outer = outside_layers(extents)
        x = x.reshape(x.shape[0] // self.tokens, self.tokens, x.shape[-1])
        if self.class_token is None:
            return jnp.mean(self.norm(x, outer), axis=1)
        return self.norm(x[:, 0], outer)

    def _read(self, x: Rows, extents: Extents) -> Outputs:
        outer = outside_layers(extents)
        pooled = self._pooled(x, extents)
        features = extent_of(self.width, outer)
        return Outputs(
            self.head(pooled, outer),
            *padded_features(pooled, features, full_size(self.width)),
        )
