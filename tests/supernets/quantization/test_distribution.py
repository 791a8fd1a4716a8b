"""The loss is about 0 for an even spread, and 1.44 for a normal distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from supernets.quantization.distribution import (
    standardized_moments,
    weight_distribution_loss,
)

EVEN = jnp.linspace(-0.3, 0.3, 20001).reshape(3, -1)
NORMAL = jnp.asarray(
    np.random.default_rng(0).normal(2.0, 0.1, (1000, 1000)), jnp.float32
)


def test_an_even_spread_costs_nothing():
    assert float(weight_distribution_loss([EVEN, 5 * EVEN + 1])) < 1e-6


def test_a_normal_distribution_costs_the_square_of_its_kurtosis():
    assert abs(float(weight_distribution_loss([NORMAL])) - 1.44) < 0.03
    assert abs(float(weight_distribution_loss([NORMAL, EVEN])) - 0.72) < 0.02
    assert float(weight_distribution_loss([NORMAL], kurtosis=0.0)) < 1e-3


def test_moments_are_those_of_statistics():
    weight = np.random.default_rng(1).exponential(size=(30, 40)).astype(np.float32)
    found = standardized_moments(jnp.asarray(weight))
    assert np.isclose(found.skewness, stats.skew(weight, axis=None), rtol=1e-4)
    expected = stats.kurtosis(weight, axis=None, fisher=False)
    assert np.isclose(found.kurtosis, expected, rtol=1e-4)
    shares = weight_distribution_loss(
        [jnp.asarray(weight)], skewness=0.5, kurtosis=0.015
    )
    expected = 0.5 * found.skewness**2 + 0.015 * (found.kurtosis - 1.8) ** 2
    assert np.isclose(shares, expected, rtol=1e-5)


def test_descent_spreads_weights_evenly():
    weight = 10 * NORMAL[:20, :20]
    slope = jax.jit(jax.grad(lambda w: weight_distribution_loss([w])))
    for _ in range(300):
        weight = weight - slope(weight)
    assert float(weight_distribution_loss([weight])) < 0.05


def test_weights_that_are_all_the_same_have_no_gradient():
    loss, slope = jax.value_and_grad(lambda w: weight_distribution_loss([w]))(
        jnp.full((3, 4), 2.0)
    )
    assert loss == 0
    assert not slope.any()
    with pytest.raises(ValueError, match="no weights to shape"):
        weight_distribution_loss([])
