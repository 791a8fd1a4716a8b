"""RMSNorm and LayerNorm with statistics over the active size; size 0 gives zeros.

Dividing by the full size instead would scale an active part of size e out of E by
sqrt(E / e), which is what makes a masked supernet differ from its extracted subnets.

In a mixture the features are weighted by the soft mask and divided by the expected
size, so that a one-hot mixture is the subnet. This departs from the code of TangleNAS,
which mixes scale and bias only and takes mean and variance over the full size: what it
searches is not what it selects.

Statistics are computed in at least float32, whatever the type of the activations.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from typing_extensions import override

from kernels import dispatch
from kernels.extents import Extent, active_size, restrict
from kernels.operation import Call, Extents, Operation, Sizes, prefix, widened

EPSILON = 1e-6

Scale = Float[Array, " _"]
Rows = Float[Array, "rows _"]


def rms_norm(
    x: Float[Array, "*batch features"],
    scale: Float[Array, " all_features"],
    features: Extent,
    *,
    epsilon: float = EPSILON,
) -> Float[Array, "*batch features"]:
    """Divides by the root mean square over the active features (Zhang 2019, Eq. 4)."""
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    return dispatch.run(Call(RmsNorm(epsilon), (features,), scale), rows).reshape(
        x.shape
    )


def layer_norm(
    x: Float[Array, "*batch features"],
    scale: Float[Array, " all_features"],
    bias: Float[Array, " all_features"],
    features: Extent,
    *,
    epsilon: float = EPSILON,
) -> Float[Array, "*batch features"]:
    """Standardises over the active features (Ba 2016, Eq. 3); the rest stays zero."""
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    y = dispatch.run(Call(LayerNorm(epsilon), (features,), (scale, bias)), rows)
    return y.reshape(x.shape)


@dataclasses.dataclass(frozen=True)
class RmsNorm(Operation):
    """See `rms_norm`. Its extent is that of the features; size 0 gives zeros."""

    epsilon: float = EPSILON

    @override
    def forward(self, sizes: Sizes, x: Rows, weights: Scale) -> tuple[Rows, None]:
        if sizes == (0,):
            return jnp.zeros_like(x), None
        wide = widened(prefix(x, None, *sizes))
        scaled = (wide * self._inverse(wide)).astype(x.dtype)
        return scaled * _row(prefix(weights, *sizes), x), None

    @override
    def backward(
        self, sizes: Sizes, x: Rows, weights: Scale, saved: None, gradient: Rows
    ) -> tuple[Rows, Scale]:
        if sizes == (0,):
            return jnp.zeros_like(x), jnp.zeros_like(weights)
        wide, y_grad = (widened(prefix(part, None, *sizes)) for part in (x, gradient))
        inverse = self._inverse(wide)
        unit = wide * inverse
        unit_grad = y_grad * _row(prefix(weights, *sizes), wide)
        along = jnp.mean(unit_grad * unit, -1, keepdims=True)
        return (unit_grad - unit * along) * inverse, jnp.sum(y_grad * unit, 0)

    def _inverse(self, wide: Rows) -> Float[Array, "rows 1"]:
        square = jnp.mean(wide * wide, -1, keepdims=True)
        return jax.lax.rsqrt(square + self.epsilon)

    @override
    def masked(self, extents: Extents, x: Rows, weights: Scale) -> Rows:
        (features,) = extents
        wide = widened(x)
        inverse = jax.lax.rsqrt(_mean(wide * wide, features) + self.epsilon)
        scale = _row(restrict(weights, features, axis=0), x)
        return (wide * inverse).astype(x.dtype) * scale

    @override
    def work(self, sizes: Sizes, x: Rows, weights: Scale) -> int:
        return x.shape[0] * sizes[0]


@dataclasses.dataclass(frozen=True)
class LayerNorm(Operation):
    """See `layer_norm`. Its extent is that of the features; size 0 gives zeros."""

    epsilon: float = EPSILON

    @override
    def forward(
        self, sizes: Sizes, x: Rows, weights: tuple[Scale, Scale]
    ) -> tuple[Rows, None]:
        if sizes == (0,):
            return jnp.zeros_like(x), None
        scale, bias = (_row(prefix(part, *sizes), x) for part in weights)
        unit, _ = self._unit(widened(prefix(x, None, *sizes)))
        return unit.astype(x.dtype) * scale + bias, None

    @override
    def backward(
        self,
        sizes: Sizes,
        x: Rows,
        weights: tuple[Scale, Scale],
        saved: None,
        gradient: Rows,
    ) -> tuple[Rows, tuple[Scale, Scale]]:
        if sizes == (0,):
            scale, bias = weights
            return jnp.zeros_like(x), (jnp.zeros_like(scale), jnp.zeros_like(bias))
        wide, y_grad = (widened(prefix(part, None, *sizes)) for part in (x, gradient))
        unit, inverse = self._unit(wide)
        unit_grad = y_grad * _row(prefix(weights[0], *sizes), wide)
        along = jnp.mean(unit_grad * unit, -1, keepdims=True)
        centred = unit_grad - jnp.mean(unit_grad, -1, keepdims=True)
        weights_grad = jnp.sum(y_grad * unit, 0), jnp.sum(y_grad, 0)
        return (centred - unit * along) * inverse, weights_grad

    def _unit(self, wide: Rows) -> tuple[Rows, Float[Array, "rows 1"]]:
        centred = wide - jnp.mean(wide, -1, keepdims=True)
        variance = jnp.mean(centred * centred, -1, keepdims=True)
        inverse = jax.lax.rsqrt(variance + self.epsilon)
        return centred * inverse, inverse

    @override
    def masked(self, extents: Extents, x: Rows, weights: tuple[Scale, Scale]) -> Rows:
        (features,) = extents
        wide = widened(x)
        centred = wide - _mean(wide, features)
        inverse = jax.lax.rsqrt(_mean(centred * centred, features) + self.epsilon)
        scale, bias = (_row(restrict(part, features, axis=0), x) for part in weights)
        return (centred * inverse).astype(x.dtype) * scale + bias

    @override
    def work(self, sizes: Sizes, x: Rows, weights: tuple[Scale, Scale]) -> int:
        return x.shape[0] * sizes[0]


def _mean(values: Rows, features: Extent) -> Float[Array, "rows 1"]:
    """Averages over the active part; of size 0, to 0: 0 / 0 would be NaN."""
    size = active_size(features)
    if not isinstance(size, int):
        size = jnp.where(size > 0, size, 1.0).astype(values.dtype)
    return restrict(values, features, axis=-1).sum(-1, keepdims=True) / size


def _row(vector: Scale, x: Rows) -> Float[Array, "1 _"]:
    return vector.astype(x.dtype)[None]
