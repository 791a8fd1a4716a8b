"""The differentiable Kendall tau, and the combination of proxies that it learns."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.optimize

from experiments.benchmarks.landscape import Landscape
from search.predictors import Combination, Members
from search.predictors.combination import soft_kendall
from search.predictors.scores import kendall_tau


def orders(seed, count=12):
    return np.random.default_rng(seed).permutation(count).astype(float)


@hypothesis.given(st.integers(0, 99))
def test_it_becomes_kendalls_tau_without_ties(seed):
    predicted, values = orders(seed), orders(seed + 1000)
    soft, _ = soft_kendall(predicted, values, 1e3)
    assert soft == pytest.approx(kendall_tau(predicted, values), abs=1e-12)
    gentle, _ = soft_kendall(predicted, values, 1e-6)
    assert abs(gentle) < 1e-3


@hypothesis.given(st.integers(0, 99), st.floats(-9, 9))
def test_shifts_change_nothing(seed, shift):
    predicted, values = orders(seed), orders(seed + 1000)
    soft, slope = soft_kendall(predicted, values, 0.1)
    for pair in ((predicted + shift, values), (predicted, values + shift)):
        shifted, other = soft_kendall(*pair, 0.1)
        assert shifted == pytest.approx(soft, abs=1e-9)
        np.testing.assert_allclose(other, slope, atol=1e-9)


def test_the_gradient_is_that_of_differences():
    predicted, values = orders(0) / 5, orders(1) / 5
    _, slope = soft_kendall(predicted, values, 2.0)
    numeric = scipy.optimize.approx_fprime(
        predicted, lambda p: soft_kendall(p, values, 2.0)[0], 1e-7
    )
    np.testing.assert_allclose(slope, numeric, atol=1e-6)


def test_it_ranks_better_than_each_of_its_proxies():
    space = Landscape().space
    rng = np.random.default_rng(0)
    genotypes = space.sample(200, rng)
    proxies = rng.normal(size=(200, 3))
    # Far from linear, but the order is that of a weighted sum of two proxies.
    values = np.exp(2 * (proxies[:, 0] - 0.7 * proxies[:, 1]))
    train, test = np.arange(100), np.arange(100, 200)
    members = Members(space, genotypes, proxies)
    fitted = Combination().fit(members.take(train), values[train])
    found = fitted.predict(members.take(test))
    assert kendall_tau(found.mean, values[test]) > 0.9
    alone = [abs(kendall_tau(proxies[test, i], values[test])) for i in range(3)]
    assert max(alone) < 0.7
    assert (found.std > 0).all()


def test_an_order_needs_two_values():
    with pytest.raises(ValueError, match="at least two values, got 1"):
        soft_kendall(np.ones(1), np.ones(1), 1.0)
