"""Adversaries: how far they go, what they seek, and what is learnt from them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from supernets.losses.adversarial import AdversarialDistillation, Trades
from supernets.losses.cross_entropy import CrossEntropy
from supernets.losses.distillation import Distillation
from supernets.losses.divergences import kl_loss
from supernets.losses.entropy import data_loss, soft_loss
from supernets.losses.pgd import Pgd
from tests.kernels.comparison import assert_close, assert_equal, quick_jit
from tests.supernets.losses.networks import (
    ImageNetwork,
    image_batch,
    image_outputs,
    image_weights,
    lesson,
    weight_gradient,
)

WEIGHTS = image_weights(tasks=False)
NETWORK, BATCH = ImageNetwork(WEIGHTS), image_batch(tasks=False, size=32)


STRONG = Pgd(epsilon=0.1, step_size=0.03, steps=8)


@pytest.fixture(scope="module")
def teacher():
    return image_outputs(ImageNetwork(image_weights(tasks=False, seed=50)), BATCH)


def data(inputs):
    return data_loss(NETWORK(inputs).logits, BATCH.targets)


def attacked(objective, inputs=BATCH.inputs, *, pgd=STRONG, seed=0):
    """What an attack finds, with the key of a lesson of that seed."""
    return _compiled(objective, pgd)(inputs, jax.random.key(seed))


@functools.cache
def _compiled(objective, pgd):
    return quick_jit(functools.partial(pgd.attack, objective))


def test_it_stays_within_epsilon_and_the_range_of_values():
    found = np.asarray(attacked(data))
    apart = np.abs(found - np.asarray(BATCH.inputs))
    assert apart.max() <= 0.1 + 1e-7
    assert apart.max() > 0.099
    assert found.min() >= 0
    assert found.max() <= 1
    assert ((found == 0) | (found == 1)).any()


def test_more_steps_find_higher_objectives():
    wrong = quick_jit(data)
    random, few, many = (
        wrong(attacked(data, pgd=Pgd(epsilon=0.1, step_size=0.03, steps=steps)))
        for steps in (0, 2, 8)
    )
    assert many > few > random
    assert few > wrong(BATCH.inputs) + 0.05


def test_it_finds_the_corner_that_is_worst_for_a_linear_function():
    slope = jnp.asarray([[1.0, -2.0, 0.5]])
    pgd = Pgd(epsilon=0.1, step_size=0.05, steps=6)
    inputs = jnp.asarray([[0.5, 0.5, 0.95]])
    found = attacked(lambda x: jnp.sum(slope * x), inputs, pgd=pgd)
    assert_close(found, np.asarray([[0.6, 0.4, 1.0]]))


def test_without_a_distance_nothing_changes():
    still = Pgd(epsilon=0.0, step_size=0.1, steps=2)
    assert_equal(attacked(data, pgd=still), BATCH.inputs)


@pytest.mark.parametrize(
    ("away", "expected"), [(1.0, [-2.0, 3.0]), (-1.0, [-1.9, 2.9])]
)
def test_values_outside_the_range_stay_in_the_ball(away, expected):
    slope = away * jnp.asarray([[-1.0, 1.0]])
    pgd = Pgd(epsilon=0.1, step_size=0.1, steps=4)
    inputs = jnp.asarray([[-2.0, 3.0]])
    found = attacked(lambda x: jnp.sum(slope * x), inputs, pgd=pgd)
    assert_close(found, np.asarray([expected]))


def test_starts_are_random_by_key():
    start = Pgd(epsilon=0.1, steps=0)
    first, again, other = (attacked(data, pgd=start, seed=seed) for seed in (0, 0, 1))
    assert_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_no_gradient_flows_through_the_attack():
    def objective(weights, inputs):
        network = ImageNetwork(weights)

        def wrong(x):
            return data_loss(network(x).logits, BATCH.targets)

        return jnp.sum(STRONG.attack(wrong, inputs, jax.random.key(0)))

    gradients = quick_jit(jax.grad(objective, (0, 1)))(WEIGHTS, BATCH.inputs)
    assert_equal(gradients, jax.tree.map(np.zeros_like, gradients))


@pytest.mark.parametrize("loss", [AdversarialDistillation(), Trades()])
def test_tokens_cannot_be_perturbed(loss, teacher):
    tokens = BATCH._replace(inputs=jnp.zeros((32, 4), jnp.int32))
    with pytest.raises(ValueError, match="real numbers such as images; got int32"):
        lesson(loss, NETWORK, tokens, teacher)


def test_a_still_adversary_is_plain_distillation(teacher):
    still = AdversarialDistillation(adversary=Pgd(epsilon=0.0))
    plain = Distillation(share=1.0)
    for of in (lesson, weight_gradient):
        assert_close(
            of(still, NETWORK, BATCH, teacher), of(plain, NETWORK, BATCH, teacher)
        )


def test_a_still_adversary_leaves_of_trades_the_data():
    still, plain = Trades(adversary=Pgd(epsilon=0.0)), CrossEntropy()
    assert_close(lesson(still, NETWORK, BATCH), lesson(plain, NETWORK, BATCH))


def test_the_adversary_of_distillation_is_of_the_subnet_that_is_trained(teacher):
    network = ImageNetwork(WEIGHTS, width=4)

    def apart(inputs):
        return soft_loss(network(inputs).logits, teacher.logits)

    natural, robust = map(quick_jit(apart), (BATCH.inputs, attacked(apart)))
    assert robust > natural + 0.05
    found = lesson(AdversarialDistillation(adversary=STRONG), network, BATCH, teacher)
    assert_close(found.objective, 5 / 6 * robust + 1 / 6 * natural)
    assert_close(found.outputs, image_outputs(network, BATCH))


def test_trades_is_the_data_and_beta_times_the_divergence_with_its_gradient():
    """Of both predictions: the natural one is not held still as a teacher is."""

    def apart(inputs):
        return kl_loss(NETWORK(BATCH.inputs).logits, NETWORK(inputs).logits)

    changed = attacked(apart)
    assert quick_jit(apart)(changed) > 0.01

    def expected(weights):
        network = ImageNetwork(weights)
        natural = network(BATCH.inputs).logits
        robust = kl_loss(natural, network(changed).logits)
        return data_loss(natural, BATCH.targets) + 6 * robust

    value, gradient = quick_jit(jax.value_and_grad(expected))(WEIGHTS)
    loss = Trades(adversary=STRONG)
    assert_close(lesson(loss, NETWORK, BATCH).objective, value)
    assert_close(weight_gradient(loss, NETWORK, BATCH), gradient)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pgd(epsilon=-0.1), "epsilon must not be negative, got -0.1"),
        (lambda: Pgd(step_size=-0.1), "step_size must not be negative"),
        (lambda: Pgd(steps=-1), "steps must not be negative, got -1"),
        (lambda: Pgd(low=1.0), "low must be below high, got 1.0 and 1.0"),
        (lambda: AdversarialDistillation(share=2.0), "share must lie in 0..1"),
        (lambda: Trades(beta=-1.0), "beta must not be negative, got -1.0"),
        (lambda: Trades(smoothing=1.0), "smoothing"),
    ],
)
def test_values_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
