"""RMSNorm and LayerNorm with statistics over the active size; size 0 gives zeros.

Dividing by the full size instead would scale an active part of size e out of E by
sqrt(E / e), which is what makes a masked supernet differ from its extracted subnets.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from kernels.extents import Extent, Fixed, active_size, prefix_mask, restrict


def rms_norm(
    x: Float[Array, "*batch features"],
    scale: Float[Array, " all_features"],
    features: Extent,
    *,
    epsilon: float = 1e-6,
) -> Float[Array, "*batch features"]:
    """Divides by the root mean square over the active features (Zhang 2019, Eq. 4)."""
    if isinstance(features, Fixed) and features.size == 0:
        return jnp.zeros_like(x)
    square = _weighted(x * x, features).sum(-1, keepdims=True)
    inverse = jax.lax.rsqrt(square / _divisor(features) + epsilon)
    return x * inverse * _row(restrict(scale, features, axis=0), x.ndim)


def layer_norm(
    x: Float[Array, "*batch features"],
    scale: Float[Array, " all_features"],
    bias: Float[Array, " all_features"],
    features: Extent,
    *,
    epsilon: float = 1e-6,
) -> Float[Array, "*batch features"]:
    """Standardises over the active features (Ba 2016, Eq. 3); the rest stays zero."""
    if isinstance(features, Fixed) and features.size == 0:
        return jnp.zeros_like(x)
    size = _divisor(features)
    mean = _weighted(x, features).sum(-1, keepdims=True) / size
    centred = x - mean
    variance = _weighted(centred * centred, features).sum(-1, keepdims=True) / size
    scale = _row(restrict(scale, features, axis=0), x.ndim)
    bias = _row(restrict(bias, features, axis=0), x.ndim)
    return centred * jax.lax.rsqrt(variance + epsilon) * scale + bias


def _divisor(features: Extent) -> int | Float[Array, ""]:
    """Returns the active size, or 1 where it is 0: 0 / 0 would be NaN."""
    size = active_size(features)
    return size if isinstance(size, int) else jnp.where(size > 0, size, 1.0)


def _row(vector: Float[Array, " features"], ndim: int) -> Array:
    return vector.reshape((1,) * (ndim - 1) + vector.shape)


def _weighted(
    values: Float[Array, "*batch features"], features: Extent
) -> Float[Array, "*batch features"]:
    if isinstance(features, Fixed):
        return values
    mask = prefix_mask(features, values.shape[-1]).astype(values.dtype)
    return jnp.where(_row(mask, values.ndim) > 0, values * _row(mask, values.ndim), 0.0)
