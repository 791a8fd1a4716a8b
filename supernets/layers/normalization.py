"""Elastic RMSNorm and LayerNorm.

In a skipped layer a norm gives zeros. Nobody reads them, but a scale that went NaN
there would reach the layers that run: NaN times a weight that is masked to zero is NaN.
"""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from kernels.extents import Extent, gated
from kernels.normalization import LayerNorm, RmsNorm, layer_norm, rms_norm
from kernels.operation import Call
from supernets.lowering import Dimension, LayerExtents, extent_of, full_size
from supernets.norms import Norm


class ElasticRmsNorm(nnx.Module):
    """RMSNorm over the active features.

    Args:
        features: Choice or fixed size of the model width.
        read_by: The size of what reads it; of size 0 the norm is not used either.
    """

    def __init__(self, features: Dimension, *, read_by: Dimension = 1) -> None:
        self.features = features
        self.read_by = read_by
        self.scale = nnx.Param(jnp.ones(full_size(features)))

    def __call__(
        self, x: Float[Array, "*batch features"], extents: LayerExtents
    ) -> Float[Array, "*batch features"]:
        """Normalises; see `kernels.normalization.rms_norm`."""
        return rms_norm(x, self.scale[...], _extent(self.features, extents))

    def call(self, extents: LayerExtents) -> Call:
        """Returns the operation without its input."""
        features = _extent(self.features, extents)
        return Call(RmsNorm(), (features,), self.scale[...])

    def dimensions(self) -> dict[str, tuple[Dimension, ...]]:
        """Returns the dimension of each axis of each weight."""
        return {"scale": (self.features,)}


class ElasticLayerNorm(nnx.Module):
    """LayerNorm over the active features.

    Args:
        features: Choice or fixed size of the model width.
        read_by: The size of what reads it; of size 0 the norm is not used either.
    """

    def __init__(self, features: Dimension, *, read_by: Dimension = 1) -> None:
        self.features = features
        self.read_by = read_by
        self.scale = nnx.Param(jnp.ones(full_size(features)))
        self.bias = nnx.Param(jnp.zeros(full_size(features)))

    def __call__(
        self, x: Float[Array, "*batch features"], extents: LayerExtents
    ) -> Float[Array, "*batch features"]:
        """Normalises; see `kernels.normalization.layer_norm`."""
        features = _extent(self.features, extents)
        return layer_norm(x, self.scale[...], self.bias[...], features)

    def call(self, extents: LayerExtents) -> Call:
        """Returns the operation without its input."""
        features = _extent(self.features, extents)
        return Call(LayerNorm(), (features,), (self.scale[...], self.bias[...]))

    def dimensions(self) -> dict[str, tuple[Dimension, ...]]:
        """Returns the dimension of each axis of each weight."""
        return {"scale": (self.features,), "bias": (self.features,)}


def make_norm(
    kind: Norm, features: Dimension, *, read_by: Dimension = 1
) -> ElasticRmsNorm | ElasticLayerNorm:
    """Returns a norm of a kind; see `ElasticRmsNorm`."""
    make = ElasticRmsNorm if kind == "rms" else ElasticLayerNorm
    return make(features, read_by=read_by)


def _extent(features: Dimension, extents: LayerExtents) -> Extent:
    return gated(extent_of(features, extents), extents["depth"])
