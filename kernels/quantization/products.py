"""Products of quantised activations and weights, in integers."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from kernels.quantization.integers import QuantizedActivations, QuantizedMatrix

MOST_INPUTS = 2**15
"""Inputs of a group: products of steps of 8 bits lie within 255**2, and so many of them
still add up to less than an int32 holds."""


def integer_matmul(
    x: QuantizedActivations, weight: QuantizedMatrix
) -> Float[Array, "*batch outputs"]:
    """Multiplies codes in int8, adds in int32, and scales what comes out.

    With codes ``a`` and ``q``, scales ``s`` and zero points ``z``, and the sum over the
    inputs of a group (Jacob 2018, arXiv 1712.05877, Eq. 7)::

        s_x s_w (sum a q - z_x sum q - z_w sum a + n z_x z_w)

    The sums are exact; the product of fake-quantised floats differs by its rounding.
    Groups have an int32 of each output at a time.

    Args:
        x: Activations.
        weight: As many inputs as there are activations.

    Raises:
        ValueError: If codes are not int8, or a group has too many inputs to add up.
    """
    _check(x, weight)
    inputs, outputs = weight.codes.shape
    size = weight.group_size or inputs
    sums = _sums(x, weight, size)
    scales = jnp.broadcast_to(weight.scale, (weight.scale.shape[0], outputs))
    terms = sums.astype(weight.scale.dtype) * scales[:, None]
    y = jnp.sum(terms, axis=0) * x.scale.astype(weight.scale.dtype)
    return y.reshape(*x.codes.shape[:-1], outputs)


def _sums(
    x: QuantizedActivations, weight: QuantizedMatrix, size: int
) -> Int[Array, "groups rows outputs"]:
    """Returns the sums of products of steps, of each group of inputs."""
    inputs, outputs = weight.codes.shape
    groups = -(-inputs // size)
    missing = groups * size - inputs
    a = x.codes.reshape(-1, inputs)
    a = jnp.pad(a, ((0, 0), (0, missing))).reshape(a.shape[0], groups, size)
    q = jnp.pad(weight.codes, ((0, missing), (0, 0))).reshape(groups, size, outputs)
    sums = jax.lax.dot_general(
        a, q, (((2,), (1,)), ((1,), (0,))), preferred_element_type=jnp.int32
    )
    of_codes = jnp.sum(q, axis=1, keepdims=True, dtype=jnp.int32)
    sums = sums - x.zero_point * of_codes
    if weight.zero_point is None:
        return sums
    counts = [min(size, inputs - size * group) for group in range(groups)]
    of_inputs = jnp.sum(a, axis=2, dtype=jnp.int32).T
    of_inputs = of_inputs - x.zero_point * jnp.asarray(counts, jnp.int32)[:, None]
    zero_points = weight.zero_point.astype(jnp.int32)
    return sums - zero_points[:, None] * of_inputs[:, :, None]


def _check(x: QuantizedActivations, weight: QuantizedMatrix) -> None:
    for name, codes in (("activations", x.codes), ("weight", weight.codes)):
        if codes.dtype != jnp.int8:
            raise ValueError(
                f"codes of the {name} are {codes.dtype}: products of fewer than 8 bits "
                "do not compile for every device (those of int4 do not for CPUs); make "
                "them int8, as packing.unpack_array does"
            )
    inputs = weight.codes.shape[0]
    if x.codes.shape[-1] != inputs:
        raise ValueError(
            f"{x.codes.shape[-1]} activations do not fit a weight of {inputs} inputs"
        )
    if (weight.group_size or inputs) > MOST_INPUTS:
        raise ValueError(
            f"{inputs} inputs that share a scale may overflow int32: quantise in "
            f"groups of at most {MOST_INPUTS}"
        )
