"""Rotary position embedding."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class RotaryAngles(NamedTuple):
    """Cosines and sines of each position's angles, for both halves of a head."""

    cos: Float[Array, "tokens 2 half"]
    sin: Float[Array, "tokens 2 half"]

    @property
    def back(self) -> "RotaryAngles":
        """The opposite angles: the gradient of a rotation is the rotation back."""
        return RotaryAngles(self.cos, -self.sin)


def rotary_angles(tokens: int, head_dim: int, base: float) -> RotaryAngles:
    """Returns the rotary angles (Su 2021, Eq. 15)."""
    exponents = jnp.arange(0, head_dim, 2, dtype=jnp.float32) / head_dim
    positions = jnp.arange(tokens, dtype=jnp.float32)
    angles = positions[:, None] * (base**-exponents)[None, :]
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    return RotaryAngles(jnp.stack([cos, cos], 1), jnp.stack([-sin, sin], 1))


def rotate(
    x: Float[Array, "*batch tokens head_dim"], angles: RotaryAngles
) -> Float[Array, "*batch tokens head_dim"]:
    """Rotates the two halves of each head by position (Su 2021, Eq. 34)."""
    halves = x.reshape(*x.shape[:-1], 2, x.shape[-1] // 2)
    shape = (1,) * (halves.ndim - 3) + angles.cos.shape
    cos, sin = (part.reshape(shape).astype(x.dtype) for part in angles)
    # Reversing the halves fuses with the products; concatenating them does not.
    return (halves * cos + halves[..., ::-1, :] * sin).reshape(x.shape)
