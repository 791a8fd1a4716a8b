"""Probabilities of exactly zero: no NaN comes through, and derivatives are kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kernels.mixtures import mixture, shielded, weighted
from tests.kernels.comparison import assert_close, assert_equal, normal

BAD = [np.nan, np.inf, -np.inf]


def array(shape, seed):
    return jnp.asarray(normal(shape, seed))


@pytest.mark.parametrize("bad", BAD)
def test_what_is_not_finite_counts_for_nothing_under_a_mask_of_zero(bad):
    mask, cotangent = jnp.asarray([1.0, 0.5, 0.0, 0.0]), array((4,), 1)
    clean = array((4,), 0)

    def total(values, mask):
        return jnp.sum(weighted(values, mask) * cotangent)

    value, (gradient, mask_gradient) = jax.value_and_grad(total, (0, 1))(
        clean.at[3].set(bad), mask
    )
    assert_equal(value, total(clean, mask))
    assert_equal(gradient, cotangent * mask)
    assert_equal(mask_gradient, (cotangent * clean).at[3].set(0.0))
    assert mask_gradient[2] != 0


@pytest.mark.parametrize("bad", BAD)
def test_what_is_not_finite_and_counts_is_not_hidden(bad):
    values = array((2,), 0).at[1].set(bad)
    assert_equal(weighted(values, jnp.asarray([0.5, 0.5]))[1], bad)


@pytest.mark.parametrize("bad", BAD)
def test_one_mask_of_zero_is_enough_for_the_gradients_of_all(bad):
    first, second = jnp.asarray([0.5, 0.5]), jnp.asarray([1.0, 0.0])

    def total(values, first, second):
        return jnp.sum(weighted(weighted(values, first), second))

    given = jnp.asarray([3.0, bad]), first, second
    gradients = jax.grad(total, (0, 1, 2))(*given)
    assert_equal(gradients, ([0.5, 0.0], [3.0, 0.0], [1.5, 0.0]))


def test_a_mixture_is_the_weighted_sum_of_its_outputs():
    outputs, weights = (
        [array((2, 3), s) for s in range(3)],
        jnp.asarray([0.2, 0.5, 0.3]),
    )
    expected = np.tensordot(np.asarray(weights), np.stack(outputs), axes=1)
    assert_close(mixture(outputs, weights), expected)


@pytest.mark.parametrize("bad", BAD)
def test_a_one_hot_mixture_is_its_output_whatever_the_others_are(bad):
    outputs = (jnp.full((2, 3), bad), array((2, 3), 0), array((2, 3), 1))
    cotangent = array((2, 3), 2)

    def total(outputs, weights):
        mixed = mixture(outputs, weights)
        return jnp.sum(mixed * cotangent), mixed

    (gradients, slopes), mixed = jax.grad(total, (0, 1), has_aux=True)(
        outputs, jnp.asarray([0.0, 1.0, 0.0])
    )
    assert_equal(mixed, outputs[1])
    nothing = jnp.zeros((2, 3))
    assert_equal(gradients, (nothing, cotangent, nothing))
    assert slopes[0] == 0
    assert_close(slopes[1:], [jnp.sum(y * cotangent) for y in outputs[1:]])


@pytest.mark.parametrize("active", [False, True])
def test_a_shield_stops_every_gradient_but_no_value(active):
    tree = {"a": array((2,), 0), "b": (array((3,), 1), jnp.asarray(1))}

    def total(a):
        shown = shielded(tree | {"a": a}, jnp.asarray(active))
        # The derivative of the root at 0 is infinite.
        return jnp.sum(jnp.sqrt(shown["a"] * 0.0)), shown

    gradient, shown = jax.grad(total, has_aux=True)(tree["a"])
    assert_equal(shown, tree)
    assert np.isnan(gradient).all() == active
    if not active:
        assert_equal(gradient, jnp.zeros(2))
