"""The elastic linear layer."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from kernels.extents import Fixed, Indexed
from search.space import Choice
from supernets.layers import ElasticLinear
from tests.kernels.comparison import assert_equal, whole

INPUTS, OUTPUTS = Choice("inputs", (2, 4)), Choice("outputs", (3, 5))


@pytest.mark.parametrize("bias", [False, True])
def test_the_active_part_is_applied(bias):
    layer = ElasticLinear(INPUTS, OUTPUTS, use_bias=bias, rngs=nnx.Rngs(0))
    assert (layer.bias is not None) == bias
    kernel, offset = whole((4, 5), 0), whole((5,), 1) * np.float32(bias)
    layer.kernel[...] = jnp.asarray(kernel)
    if bias:
        layer.bias[...] = jnp.asarray(offset)
    x = whole((6, 2), 2)
    expected = x @ kernel[:2, :3] + offset[:3]
    fixed = {"inputs": Fixed(2), "outputs": Fixed(3)}
    assert_equal(layer(jnp.asarray(x), fixed), expected)
    first = jnp.asarray(0)
    indexed = {"inputs": Indexed(first, (2, 4)), "outputs": Indexed(first, (3, 5))}
    padded = jnp.asarray(np.pad(x, ((0, 0), (0, 2))))
    assert_equal(layer(padded, indexed), np.pad(expected, ((0, 0), (0, 2))))


def test_plain_sizes_need_no_extents():
    layer = ElasticLinear(2, 3, rngs=nnx.Rngs(0))
    x = jnp.ones((1, 2))
    assert_equal(layer(x, {}), x @ layer.kernel[...] + layer.bias[...][None])
