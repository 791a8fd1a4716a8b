"""Losses against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from supernets.losses.entropy import NATS_PER_BIT, cross_entropy, distillation
from tests.kernels.comparison import assert_close, assert_equal, normal

SHAPE, VOCABULARY = (2, 3), 5
TARGETS = np.asarray([[0, 4, 1], [2, 2, 3]])


def logits(seed=0, scale=1.0):
    return jnp.asarray(normal((*SHAPE, VOCABULARY), seed, scale))


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_cross_entropy_is_minus_the_mean_log_probability_of_the_targets(scale):
    given = logits(scale=scale)
    probabilities = scipy.special.log_softmax(np.asarray(given, np.float64), axis=-1)
    rows, columns = np.indices(SHAPE)
    expected = -probabilities[rows, columns, TARGETS].mean()
    assert_close(cross_entropy(given, jnp.asarray(TARGETS)), expected)


def test_knowing_nothing_costs_the_logarithm_of_the_vocabulary():
    uniform = jnp.full((*SHAPE, VOCABULARY), 3.0)
    assert_close(cross_entropy(uniform, jnp.asarray(TARGETS)), np.log(VOCABULARY))
    bits = cross_entropy(jnp.zeros((1, 256)), jnp.asarray([7])) / NATS_PER_BIT
    assert_close(bits, 8.0)


def test_distillation_is_the_cross_entropy_with_soft_targets():
    student, teacher = logits(0), logits(1)
    weights = scipy.special.softmax(np.asarray(teacher, np.float64), axis=-1)
    scores = scipy.special.log_softmax(np.asarray(student, np.float64), axis=-1)
    assert_close(distillation(student, teacher), -(weights * scores).sum(-1).mean())


def test_distillation_of_oneself_is_the_entropy_and_the_minimum():
    teacher = logits()
    weights = scipy.special.softmax(np.asarray(teacher, np.float64), axis=-1)
    entropy = scipy.special.entr(weights).sum(-1).mean()
    own, gradient = jax.value_and_grad(distillation)(teacher, teacher)
    assert_close(own, entropy)
    assert np.abs(gradient).max() < 1e-6
    assert distillation(logits(1), teacher) > own


def test_a_certain_teacher_is_a_label():
    teacher = 1e4 * jax.nn.one_hot(TARGETS, VOCABULARY)
    student = logits()
    expected = cross_entropy(student, jnp.asarray(TARGETS))
    assert_close(distillation(student, teacher), expected)


def test_no_gradient_flows_to_the_teacher():
    gradients = jax.grad(distillation, (0, 1))(logits(0), logits(1))
    assert np.abs(gradients[0]).max() > 0
    assert_equal(gradients[1], jnp.zeros_like(gradients[1]))
