"""Noise: what it drops, and that nothing changes on average."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from supernets.regularization import Regularization, with_drop_path, with_dropout
from tests.kernels.comparison import assert_close, assert_equal

ROWS, TOKENS, FEATURES = 6000, 3, 4
X = jnp.ones((ROWS, FEATURES))


def noise(seed=0, **rates):
    return Regularization(**rates).noise(jax.random.key(seed))


def test_without_rates_there_is_no_noise_and_nothing_is_touched():
    assert noise() is None
    assert not Regularization().noisy
    assert with_dropout(X, None) is X
    only_dropout, only_path = noise(dropout=0.1), noise(drop_path=0.1)
    assert with_dropout(X, only_path) is X
    path = {"layer": 0, "layers": 1, "tokens": TOKENS}
    assert with_drop_path(X, 2 * X, None, **path).tolist() == (2 * X).tolist()
    y = 2 * X
    assert with_drop_path(X, y, only_dropout, **path) is y


def test_dropout_sets_entries_to_zero_and_keeps_the_mean():
    found = np.asarray(with_dropout(X, noise(dropout=0.25)))
    assert set(np.unique(found)) == {0.0, np.float32(1 / 0.75)}
    np.testing.assert_allclose((found == 0).mean(), 0.25, atol=0.02)
    again, other = (with_dropout(X, noise(seed, dropout=0.25)) for seed in (0, 1))
    assert_equal(again, found)
    assert (np.asarray(other) != found).any()


@pytest.mark.parametrize(("layer", "rate"), [(0, 0.1), (3, 0.4)])
def test_deeper_layers_are_skipped_more_and_whole_examples_at_once(layer, rate):
    # What a layer adds is 1, so that what is left of it can be read off.
    found = with_drop_path(
        X, 2 * X, noise(drop_path=0.4), layer=layer, layers=4, tokens=TOKENS
    )
    added = np.asarray(found - X).reshape(-1, TOKENS * FEATURES)
    assert (added == added[:, :1]).all()
    skipped = added[:, 0] == 0
    np.testing.assert_allclose(skipped.mean(), rate, atol=0.03)
    assert_close(added[~skipped], np.full_like(added[~skipped], 1 / (1 - rate)))


def test_layers_are_skipped_independently():
    one, two = (
        with_drop_path(
            X, 2 * X, noise(drop_path=0.5), layer=layer, layers=2, tokens=TOKENS
        )
        for layer in range(2)
    )
    assert not np.array_equal(one == X, two == X)


def test_a_skipped_layer_gets_no_gradient():
    def total(scale):
        y = X * (1 + scale)
        out = with_drop_path(
            X, y, noise(drop_path=0.5), layer=0, layers=1, tokens=TOKENS
        )
        return jnp.sum(out), out

    gradient, out = jax.grad(total, has_aux=True)(1.0)
    kept = np.asarray(out != X).sum()
    assert 0 < kept < X.size
    assert_close(gradient, 2.0 * kept)


@pytest.mark.parametrize("name", ["dropout", "drop_path"])
@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_rates_out_of_range_are_refused(name, rate):
    with pytest.raises(ValueError, match=rf"{name} must lie in 0\.\.1, got"):
        Regularization(**{name: rate})
