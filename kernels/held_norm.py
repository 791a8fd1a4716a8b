"""RMSNorm whose statistics are held constant: a scaling that a gradient sees as linear.

It keeps activations in range as a norm does, and is what a measure needs that follows
weights along paths through a network: behind a norm proper, what comes before it has no
first-order effect on the scale of what comes after.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from typing_extensions import override

from kernels.extents import active_size, restrict
from kernels.normalization import RmsNorm
from kernels.operation import Extents, Sizes, prefix, widened

Scale = Float[Array, " _"]
Rows = Float[Array, "rows _"]


@dataclasses.dataclass(frozen=True)
class HeldRmsNorm(RmsNorm):
    """`RmsNorm` in values; in gradients its root mean square is a constant."""

    @override
    def backward(
        self, sizes: Sizes, x: Rows, weights: Scale, saved: None, gradient: Rows
    ) -> tuple[Rows, Scale]:
        if sizes == (0,):
            return jnp.zeros_like(x), jnp.zeros_like(weights)
        wide, y_grad = (widened(prefix(part, None, *sizes)) for part in (x, gradient))
        inverse = self._inverse(wide)
        scale = prefix(weights, *sizes).astype(wide.dtype)[None]
        return y_grad * scale * inverse, jnp.sum(y_grad * wide * inverse, 0)

    @override
    def masked(self, extents: Extents, x: Rows, weights: Scale) -> Rows:
        (features,) = extents
        wide = widened(jax.lax.stop_gradient(x))
        squares = restrict(wide * wide, features, axis=1).sum(-1, keepdims=True)
        size = jnp.asarray(active_size(features), wide.dtype)
        mean = squares / jnp.where(size > 0, size, 1)
        inverse = jax.lax.rsqrt(mean + self.epsilon)
        scale = restrict(weights, features, axis=0).astype(x.dtype)[None]
        return (x * inverse.astype(x.dtype)) * scale
