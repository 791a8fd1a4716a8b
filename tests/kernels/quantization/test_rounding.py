"""Values come through bit for bit; gradients are those that were asked for."""

import jax
import jax.numpy as jnp

from kernels.quantization.rounding import gradient_scaled, rounded, straight_through
from tests.kernels.comparison import assert_equal

X = jnp.asarray([0.1, -2.5, 1e8, 0.5, 1.5])


def slope(function):
    return jax.grad(lambda x: jnp.sum(function(x) * 3.0))(X)


def test_rounding_has_the_gradient_of_what_is_rounded():
    assert rounded(X).tolist() == [0, -2, 1e8, 0, 2]
    assert_equal(slope(rounded), jnp.full(5, 3.0))


def test_a_value_takes_the_gradient_of_its_source_alone():
    assert_equal(straight_through(X**2, X), X**2)
    assert_equal(slope(lambda x: straight_through(x**2, 2 * x)), jnp.full(5, 6.0))


def test_only_the_gradient_is_scaled():
    assert_equal(gradient_scaled(X, 0.3), X)
    assert_equal(slope(lambda x: gradient_scaled(x, 0.25)), jnp.full(5, 0.75))
