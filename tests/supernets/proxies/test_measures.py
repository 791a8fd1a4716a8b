"""The equations of proxies, against closed forms of linear maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from supernets.proxies.measures import (
    FLOOR,
    gradient_norm,
    jacobian_volume,
    synaptic_flow,
)
from supernets.proxies.names import PROXIES, metric_name
from tests.kernels.comparison import assert_close, normal


def test_every_proxy_has_a_metric():
    assert [metric_name(proxy) for proxy in PROXIES] == [
        "proxy_grad_norm",
        "proxy_synflow",
        "proxy_jacobian",
    ]


def test_the_gradient_of_a_regression_has_the_length_of_its_normal_equations():
    x, y, w = normal((5, 3), 0), normal((5,), 1), normal((3,), 2)

    def loss(params):
        return jnp.mean((x @ params["w"] - y) ** 2)

    found = gradient_norm(loss, {"w": jnp.asarray(w), "unread": jnp.ones(4)})
    assert_close(found, np.linalg.norm(2 / 5 * x.T @ (x @ w - y)))


def test_the_flow_of_linear_maps_is_their_number_times_what_comes_out():
    first, second, third = normal((4, 3), 0), normal((3, 6), 1), normal((6, 2), 2)

    def output(params):
        return jnp.sum(jnp.ones(4) @ params[0] @ params[1] @ params[2])

    expected = 3 * (abs(first) @ abs(second) @ abs(third)).sum()
    found = synaptic_flow(output, [jnp.asarray(w) for w in (first, second, third)])
    assert_close(found, expected)


def test_weights_without_flow_add_nothing_whatever_they_are():
    weights = jnp.asarray([2.0, -3.0, jnp.nan, jnp.inf])
    found = synaptic_flow(lambda w: jnp.sum(w[:2]), weights)
    assert float(found) == 5.0


def test_equal_jacobians_have_the_least_volume_and_orthogonal_ones_the_most():
    # A linear map has the same Jacobian everywhere: one eigenvalue is not 0.
    weights, inputs = normal((6, 2), 0), normal((4, 6), 1)
    found = jacobian_volume(lambda x: jnp.sum(x @ weights), jnp.asarray(inputs))
    expected = np.log(4 + FLOOR) + 3 * np.log(FLOOR)
    assert float(found) == pytest.approx(expected, rel=0.02)
    # The gradient of half a square is the input.
    orthogonal = jnp.asarray(np.diag([1.0, -2.0, 30.0]).astype(np.float32))
    found = jacobian_volume(lambda x: jnp.sum(x**2) / 2, orthogonal)
    assert float(found) == pytest.approx(3 * np.log(1 + FLOOR), abs=1e-5)


def test_the_volume_is_that_of_the_cosines():
    inputs = normal((3, 5), 0)
    unit = inputs / np.linalg.norm(inputs, axis=1, keepdims=True)
    expected = np.log(np.linalg.det(unit @ unit.T + FLOOR * np.eye(3)))
    found = jax.jit(lambda x: jacobian_volume(lambda y: jnp.sum(y**2), x))(inputs)
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_examples_without_any_influence_are_orthogonal_to_all():
    found = jacobian_volume(lambda x: 0.0 * jnp.sum(x), jnp.ones((2, 3)))
    assert float(found) == pytest.approx(2 * np.log(FLOOR), rel=1e-4)
