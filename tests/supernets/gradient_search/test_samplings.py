"""Samplings: points of the simplex, and the gradients that a search moves by."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from supernets.gradient_search.samplings import (
    Dirichlet,
    Gumbel,
    SinglePath,
    Softmax,
    Sparsemax,
)
from tests.kernels.comparison import assert_close, assert_equal

pytestmark = pytest.mark.slow

LOGITS = jnp.asarray([[0.3, -1.2, 0.8, 0.0], [2.0, 1.9, -3.0, 0.5]])
END = jnp.asarray(1.0)
EVERY = [Softmax(), Sparsemax(), Dirichlet(), Gumbel(), SinglePath()]


def key(seed=0):
    return jax.random.key(seed)


@pytest.mark.parametrize("sampling", EVERY)
def test_every_draw_is_a_point_of_the_simplex(sampling):
    for progress in (0.0, 1.0):
        drawn = sampling.draw(LOGITS, jnp.asarray(progress), key=key())
        assert drawn.shape == LOGITS.shape
        assert float(drawn.min()) >= 0
        assert_close(drawn.sum(-1), jnp.ones(2))
        if sampling.hard:
            assert_equal(jnp.sort(drawn, axis=-1)[:, -1], jnp.ones(2))


@pytest.mark.parametrize("sampling", EVERY)
def test_the_mean_is_that_of_many_draws(sampling):
    keys = jax.random.split(key(), 4000)
    draws = jax.vmap(lambda k: sampling.draw(LOGITS, END, key=k))(keys)
    np.testing.assert_allclose(
        draws.mean(0), sampling.mean(LOGITS, END), atol=0.03, rtol=0
    )


@pytest.mark.parametrize("sampling", EVERY)
def test_only_what_learns_has_a_gradient_along_its_draws(sampling):
    towards = jnp.asarray([[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]])

    def total(logits):
        start = jnp.zeros(())
        return jnp.sum(sampling.draw(logits, start, key=key()) * towards)

    gradient = jax.grad(total)(LOGITS)
    assert np.isfinite(gradient).all()
    assert bool(np.any(gradient)) == sampling.learns


def test_gradients_along_dirichlet_draws_average_to_that_of_the_mean():
    keys = jax.random.split(key(), 1000)
    weights = jnp.asarray([1.0, -2.0, 0.5, 3.0])
    sampling = Dirichlet()

    def mean(logits):
        def one(k):
            return jnp.sum(sampling.draw(logits, END, key=k) * weights)

        return jnp.mean(jax.vmap(one)(keys))

    def exact(logits):
        return jnp.sum(sampling.mean(logits, END) * weights)

    found, expected = jax.grad(mean)(LOGITS[0]), jax.grad(exact)(LOGITS[0])
    np.testing.assert_allclose(found, expected, atol=0.1, rtol=0)


@pytest.mark.parametrize("level", [-200.0, 200.0])
def test_a_dirichlet_of_extreme_logits_stays_finite(level):
    logits = jnp.asarray([level, 0.0, -level])
    run = jax.value_and_grad(lambda z: Dirichlet().draw(z, END, key=key())[0])
    assert all(np.isfinite(leaf).all() for leaf in run(logits))


@pytest.mark.parametrize("regularizer", ["kl", "l2"])
def test_regularisers_of_dirichlet_are_least_at_the_uniform(regularizer):
    sampling = Dirichlet(regularizer=regularizer, strength=0.5)
    value, slope = jax.value_and_grad(sampling.penalty)(jnp.zeros((2, 3)))
    np.testing.assert_allclose(value, 0.0, atol=1e-5)
    np.testing.assert_allclose(slope, np.zeros((2, 3)), atol=1e-5)
    assert float(sampling.penalty(LOGITS)) > 0
    assert float(Dirichlet(strength=0.0).penalty(LOGITS)) == 0


def test_the_divergence_of_a_dirichlet_is_the_integral():
    # Of Dirichlet(2, 1) from the uniform: the density is 2x, so the mean of log(2x).
    logits = jnp.asarray([1.0, 0.0])
    expected = np.log(2) - 0.5
    assert_close(Dirichlet(strength=1.0).penalty(logits), expected)


def test_sparsemax_is_the_projection_to_the_simplex():
    rng = np.random.default_rng(0)
    start = jnp.zeros(())
    for row in rng.normal(size=(20, 5), scale=1.5).astype(np.float32):
        with jax.numpy_dtype_promotion("standard"):
            expected = optax.projections.projection_simplex(jnp.asarray(row))
        assert_close(Sparsemax().mean(jnp.asarray(row), start), expected)
    sharp = Sparsemax().mean(LOGITS, END)
    assert np.count_nonzero(sharp[0]) == 1


def test_temperatures_fall_along_a_line():
    first, last = (Softmax().mean(LOGITS, jnp.asarray(p)) for p in (0.0, 1.0))
    assert_close(first, jax.nn.softmax(LOGITS))
    assert_close(last, jax.nn.softmax(LOGITS / 0.1))


@pytest.mark.parametrize("kind", [Softmax, Sparsemax, Gumbel])
@pytest.mark.parametrize("ends", [(0.0, 1.0), (1.0, -1.0), (float("nan"), 1.0)])
def test_temperatures_must_be_positive(kind, ends):
    with pytest.raises(ValueError, match="temperatures must be positive"):
        kind(temperature=ends)


def test_a_regulariser_must_not_reward():
    with pytest.raises(ValueError, match="strength must not be negative"):
        Dirichlet(strength=-1.0)
