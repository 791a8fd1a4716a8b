"""Elastic RMSNorm and LayerNorm.

In a skipped layer a norm gives zeros. Nobody reads them, but a scale that went NaN
there would reach the layers that run: NaN times a weight that is masked to zero is NaN.
"""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from kernels.extents import gated
from kernels.normalization import layer_norm, rms_norm
from search.space import Choice
from supernets.lowering import LayerExtents, extent_of, full_size


class ElasticRmsNorm(nnx.Module):
    """RMSNorm over the active features."""

    def __init__(self, features: Choice | int) -> None:
        self.features = features
        self.scale = nnx.Param(jnp.ones(full_size(features)))

    def __call__(
        self, x: Float[Array, "*batch features"], extents: LayerExtents
    ) -> Float[Array, "*batch features"]:
        """Normalises; see `kernels.normalization.rms_norm`."""
        features = gated(extent_of(self.features, extents), extents["depth"])
        return rms_norm(x, self.scale[...], features)


class ElasticLayerNorm(nnx.Module):
    """LayerNorm over the active features."""

    def __init__(self, features: Choice | int) -> None:
        self.features = features
        self.scale = nnx.Param(jnp.ones(full_size(features)))
        self.bias = nnx.Param(jnp.zeros(full_size(features)))

    def __call__(
        self, x: Float[Array, "*batch features"], extents: LayerExtents
    ) -> Float[Array, "*batch features"]:
        """Normalises; see `kernels.normalization.layer_norm`."""
        features = gated(extent_of(self.features, extents), extents["depth"])
        return layer_norm(x, self.scale[...], self.bias[...], features)
