"""Scores of layers, on layers whose importance is known."""

import jax.numpy as jnp
import numpy as np
import pytest

from supernets.quantization.layer_importance import (
    graded_bits,
    importance_order,
    input_modification,
    outlier_share,
)

RNG = np.random.default_rng(0)


def normal(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def test_a_layer_that_changes_nothing_is_the_least_important():
    x = normal(2, 50, 16)
    layers = [x + normal(2, 50, 16), x, x + 0.3 * normal(2, 50, 16), -x, 2 * x]
    scores = np.asarray([input_modification(x, y) for y in layers])
    assert np.allclose(scores[[1, 3, 4]], [-1, 1, -1], atol=1e-5)
    assert importance_order(scores)[:3].tolist() == [3, 0, 2]


def test_the_modification_is_the_mean_over_tokens_of_the_cosine():
    before = jnp.asarray([[[1.0, 0.0], [3.0, 0.0], [0.0, 0.0], [0.0, 2.0]]])
    after = jnp.asarray([[[2.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]])
    expected = -(1 + 0 + 0 + np.sqrt(0.5)) / 4
    assert np.isclose(input_modification(before, after), expected)


def test_outliers_are_counted_above_the_mean_only():
    share = float(outlier_share([3 * normal(400, 500) - 7]))
    assert abs(share - 0.159) < 0.003
    # One of four is above the mean by more than a deviation, whatever lies below.
    assert outlier_share([jnp.asarray([0.0, 0.0, 0.0, 9.0])]) == 0.25
    assert outlier_share([jnp.asarray([0.0, 0.0, 0.0, -9.0])]) == 0.0


def test_all_weights_of_a_layer_are_taken_together():
    parts = [normal(10, 20), 5 + normal(7)]
    whole = jnp.concatenate([part.reshape(-1) for part in parts])
    assert outlier_share(parts) == outlier_share([whole])
    assert outlier_share([jnp.zeros((3, 3))]) == 0
    with pytest.raises(ValueError, match="without weights"):
        outlier_share([])


def test_the_most_important_layers_get_many_bits():
    scores = np.asarray([0.1, 0.5, 0.5, -1.0])
    assert importance_order(scores).tolist() == [1, 2, 0, 3]
    assert graded_bits(scores, 0).tolist() == [2, 2, 2, 2]
    assert graded_bits(scores, 1).tolist() == [2, 4, 2, 2]
    assert graded_bits(scores, 3, high=8, low=3).tolist() == [8, 8, 8, 3]
    assert graded_bits(scores, 4).tolist() == [4, 4, 4, 4]


def test_wrong_values_are_refused():
    with pytest.raises(ValueError, match=r"of layers \[1\] is not a number"):
        importance_order(np.asarray([0.0, np.nan]))
    with pytest.raises(ValueError, match=r"keep must lie in 0..2, the layers, got 3"):
        graded_bits(np.asarray([0.0, 1.0]), 3)
    with pytest.raises(ValueError, match="must not exceed high bits, got 4 > 2"):
        graded_bits(np.asarray([0.0, 1.0]), 1, high=2, low=4)
