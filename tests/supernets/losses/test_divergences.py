"""Divergences against their formulas, and the gradient of the alpha-divergence."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from supernets.losses.alpha_divergence import AlphaDivergence
from supernets.losses.divergences import (
    adaptive_divergence,
    adaptive_loss,
    alpha_divergence,
    kl_divergence,
    kl_loss,
)
from tests.kernels.comparison import assert_close, assert_equal, normal, quick_jit
from tests.supernets.losses.networks import (
    ImageNetwork,
    image_batch,
    image_outputs,
    image_weights,
    lesson,
)

ALPHAS = [-1.0, 0.0, 0.5, 1.0, 2.0]
SHAPE = (60, 5)
STUDENT, TEACHER = normal(SHAPE, 0, 1.5), normal(SHAPE, 1, 1.5)


def formula(student, teacher, alpha, clip=np.inf):
    """The divergence of each example, from probabilities, in float64."""
    q, p = (scipy.special.softmax(np.float64(x), axis=-1) for x in (student, teacher))
    t = p / q
    if alpha == 1:
        return (q * t * np.log(t)).sum(-1)
    if alpha == 0:
        return (-q * np.log(np.minimum(t, clip))).sum(-1)
    f = (np.minimum(t**alpha, clip) - 1) / (alpha * (alpha - 1))
    return (q * f).sum(-1)


def finite_difference(function, x, step=1e-5):
    """The central difference of a function of each row."""
    slopes = [
        (function(x + step * one) - function(x - step * one)) / (2 * step)
        for one in np.eye(x.shape[-1])
    ]
    return np.stack(slopes, axis=-1)


@functools.cache
def compiled(alpha, clip):
    """Values of all examples, and the gradient of their sum."""

    def total(student, teacher):
        values = alpha_divergence(student, teacher, alpha=alpha, clip=clip)
        return jnp.sum(values), values

    return quick_jit(jax.grad(total, has_aux=True))


def gradient_and_values(student, teacher, alpha, clip=np.inf):
    found = compiled(alpha, clip)(student, teacher)
    return tuple(map(np.asarray, found))


def opposite(logit):
    """A student that all but rules out what its teacher is sure of."""
    student = np.zeros(SHAPE, np.float32)
    student[:, 0] = logit
    return student, student[:, ::-1].copy()


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_value_is_that_of_the_formula(alpha):
    _, values = gradient_and_values(STUDENT, TEACHER, alpha)
    assert_close(values, formula(STUDENT, TEACHER, alpha))
    assert (values > 0).all()


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_gradient_is_that_of_the_divergence(alpha):
    student, teacher = np.float64(STUDENT[:3]), np.float64(TEACHER[:3])
    expected = finite_difference(lambda x: formula(x, teacher, alpha), student)
    with jax.enable_x64(True):
        gradient, _ = gradient_and_values(student, teacher, alpha)
    assert gradient.dtype == np.float64
    assert np.abs(gradient - expected).max() < 1e-6
    assert np.abs(expected).max() > 1e-2


@pytest.mark.parametrize("special", [0.0, 1.0])
def test_the_special_alphas_are_the_limits_of_others(special):
    _, at = gradient_and_values(STUDENT, TEACHER, special)
    _, near = gradient_and_values(STUDENT, TEACHER, special + 2e-3)
    assert 0 < np.abs(near / at - 1).max() < 0.02


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_the_special_alphas_are_the_kl_divergences(alpha):
    """At 1 of the teacher to the student, at 0 the reverse."""
    gradient, values = gradient_and_values(STUDENT, TEACHER, alpha)

    def expected(student):
        ends = (TEACHER, student) if alpha else (student, TEACHER)
        return kl_divergence(*map(jnp.asarray, ends))

    value, slope = quick_jit(jax.value_and_grad(expected))(STUDENT)
    assert_close(values.mean(), value)
    assert_close(gradient / len(STUDENT), slope)


@pytest.mark.parametrize(
    ("alpha", "scale"), [(-1.0, 0.5), (0.0, 0.5), (0.5, 1.5), (2.0, 0.4)]
)
def test_clipping_acts_only_where_the_power_is_above_it(alpha, scale):
    student, teacher = np.float32(scale) * STUDENT, np.float32(scale) * TEACHER
    q, p = (scipy.special.softmax(x, axis=-1) for x in (student, teacher))
    above = ((p / q) ** (alpha or 1.0) > 5.0).any(-1)
    assert 5 < above.sum() < 55
    free, _ = gradient_and_values(student, teacher, alpha)
    clipped, values = gradient_and_values(student, teacher, alpha, clip=5.0)
    assert_equal(clipped[~above], free[~above])
    assert (np.abs(clipped - free)[above].max(-1) > 1e-5).all()
    assert_close(values, formula(student, teacher, alpha, clip=5.0))


def test_an_alpha_of_one_is_not_clipped():
    free, clipped = (
        gradient_and_values(STUDENT, TEACHER, 1.0, clip) for clip in (np.inf, 5.0)
    )
    assert_equal(clipped, free)


def test_clipping_bounds_a_gradient_and_does_not_cut_it_off():
    student, teacher = opposite(9)
    free, _ = gradient_and_values(student, teacher, 2.0)
    clipped, _ = gradient_and_values(student, teacher, 2.0, clip=5.0)
    assert np.abs(free).max() > 1e3
    assert 1e-4 < np.abs(clipped).max() < 1


@pytest.mark.parametrize("alpha", ALPHAS)
def test_nothing_overflows_where_probabilities_vanish(alpha):
    student, teacher = opposite(300)
    gradient, values = gradient_and_values(student, teacher, alpha, clip=5.0)
    assert np.isfinite(gradient).all()
    assert np.isfinite(values).all()


def test_each_example_has_the_larger_divergence():
    low, first = gradient_and_values(STUDENT, TEACHER, -1.0, clip=5.0)
    high, second = gradient_and_values(STUDENT, TEACHER, 1.0)
    assert 10 < (first > second).sum() < 50
    adaptive = functools.partial(adaptive_divergence, alphas=(-1.0, 1.0), clip=5.0)
    value, gradient = quick_jit(jax.value_and_grad(adaptive))(STUDENT, TEACHER)
    assert_close(value, np.maximum(first, second).mean())
    assert_close(gradient, np.where((first > second)[:, None], low, high) / SHAPE[0])


def test_a_lowest_alpha_of_zero_is_honoured():
    """The published code takes it for one that is not given."""
    network, batch = ImageNetwork(image_weights(tasks=False)), image_batch(tasks=False)
    other = ImageNetwork(image_weights(tasks=False, seed=9))
    student, teacher = (image_outputs(each, batch) for each in (network, other))
    ours, default = (
        lesson(AlphaDivergence(**alphas, clip=1e9), network, batch, teacher).objective
        for alphas in ({"alpha_min": 0.0}, {})
    )
    ends = [formula(student.logits, teacher.logits, alpha) for alpha in (0, 1)]
    assert_close(ours, np.maximum(*ends).mean())
    assert abs(default - ours) > 1e-3


def test_kl_has_a_gradient_to_both_and_is_zero_of_equals():
    q, p = (scipy.special.softmax(np.float64(x), -1) for x in (STUDENT, TEACHER))
    both = quick_jit(jax.value_and_grad(kl_divergence, (0, 1)))
    value, gradients = both(TEACHER, STUDENT)
    assert_close(value, scipy.special.rel_entr(p, q).sum(-1).mean())
    assert all(np.abs(gradient).max() > 1e-3 for gradient in gradients)
    value, gradients = both(STUDENT, STUDENT)
    assert value == 0
    assert all(np.abs(gradient).max() < 1e-6 for gradient in gradients)


@pytest.mark.parametrize(
    ("one", "loss"),
    [
        (kl_divergence, kl_loss),
        *[
            tuple(
                functools.partial(function, alphas=(-1.0, 1.0), clip=5.0)
                for function in (adaptive_divergence, adaptive_loss)
            )
        ],
    ],
    ids=["kl", "adaptive"],
)
def test_tasks_add_up(one, loss):
    student, teacher = jnp.asarray(STUDENT), jnp.asarray(TEACHER)
    apart = quick_jit(lambda x, y: one(x, y) + one(y, x))(student, teacher)
    tasks = {"a": student, "b": teacher}, {"a": teacher, "b": student}
    assert_close(quick_jit(loss)(*tasks), apart)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"share": 1.5}, "share must lie in 0..1, got 1.5"),
        ({"smoothing": 1.0}, "smoothing must lie in 0..1"),
        ({"alpha_min": 2.0}, "alpha_min must not be above alpha_max, got 2.0 and 1.0"),
        ({"clip": 0.5}, "clip must be at least 1"),
    ],
)
def test_values_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        AlphaDivergence(**changes)
