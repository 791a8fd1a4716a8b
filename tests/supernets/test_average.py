"""The moving average of weights, and steps whose gradient is not finite."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from supernets.losses.loss import Batch
from supernets.optimizers.adamw import AdamW
from supernets.policies.policy import Slot, draw_of
from supernets.training import initial_state, make_train_step
from tests.kernels.comparison import assert_close, assert_equal
from tests.supernets.steps import DESCENT, quick_step
from tests.supernets.toy import (
    random_weights,
    random_windows,
    small_decoder,
    unweighted,
    with_weights,
)

SPEC = small_decoder(width=(4, 8), heads=(2,), ffn=(6,), depth=(1, 2))
SPACE = SPEC.space()
SLOTS = (Slot(role="sampled"), Slot(role="largest", fixed=True, optional=True))
ADAMW = AdamW(weight_decay=0.1).transform(100)
DECAY = 0.2


def draw(*weights):
    return draw_of(SPACE.smallest[None], SPACE.largest[None], weights=weights)


def state_of(weights=None, **options):
    weights = random_weights(SPEC) if weights is None else weights
    return initial_state(with_weights(SPEC, weights), ADAMW, **options)


@functools.cache
def step():
    return quick_step(SPEC, SLOTS, ADAMW, average=DECAY, execution="masked")


@pytest.mark.slow
def test_the_average_follows_the_weights_at_first_quickly():
    state = state_of(averaged=True)
    expected = jax.device_get(state.params)
    assert_equal(state.average, expected)
    for number in range(3):
        batch = Batch(*random_windows(number))
        state, _ = step()(state, batch, draw(1.0, 1.0), number)
        decay = min(DECAY, (1 + number) / (10 + number))
        mixed = jax.tree.map(
            lambda old, new, decay=decay: decay * old + (1 - decay) * new,
            expected,
            state.params,
        )
        expected = jax.device_get(mixed)
        assert_close(state.average, expected)
    assert state.evaluated is state.average
    assert (min(DECAY, 1 / 10), min(DECAY, 3 / 12)) == (0.1, DECAY)


def test_without_an_average_the_weights_are_evaluated():
    state = state_of()
    assert state.average is None
    assert state.evaluated is state.params


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_decays_out_of_range_are_refused(decay):
    with pytest.raises(ValueError, match=r"average must lie in 0\.\.1 and below 1"):
        make_train_step(unweighted(SPEC), SPACE, DESCENT, SLOTS, average=decay)


def test_a_state_without_its_average_is_refused():
    with pytest.raises(ValueError, match=r"initial_state\(\.\.\., averaged=True\)"):
        step()(state_of(), Batch(*random_windows(0)), draw(1.0, 1.0), 0)


@pytest.mark.slow
def test_a_step_whose_gradient_is_not_finite_changes_nothing_and_names_the_slot():
    weights = random_weights(SPEC)
    # What only the largest has.
    weights["norm.scale"][4:] = np.inf
    batch = Batch(*random_windows(0))
    state, metrics = step()(state_of(weights, averaged=True), batch, draw(1.0, 0.0), 5)
    assert np.isfinite(metrics.gradient_norms[0])
    assert np.isnan(metrics.gradient_norms[1])
    assert_close(metrics.gradient_norm, metrics.gradient_norms[0])
    before = jax.device_get(state)
    after, metrics = step()(state, batch, draw(1.0, 1.0), 6)
    assert not np.isfinite(metrics.gradient_norm)
    assert np.isfinite(metrics.gradient_norms[0])
    assert not np.isfinite(metrics.gradient_norms[1])
    assert_equal(after, before)
    assert int(after.optimizer[1][0].count) == 1
    again, _ = step()(after, batch, draw(1.0, 0.0), 7)
    assert any(
        (new != old).any()
        for new, old in zip(
            jax.tree.leaves(again), jax.tree.leaves(before), strict=True
        )
    )


@pytest.mark.slow
def test_norms_of_slots_are_those_of_their_shares():
    def norms(*weights):
        batch = Batch(*random_windows(0))
        metrics = step()(state_of(averaged=True), batch, draw(*weights), 0)[1]
        return np.asarray(metrics.gradient_norms)

    even, uneven = norms(1.0, 1.0), norms(1.0, 3.0)
    assert_close(uneven, even * np.asarray([0.5, 1.5], np.float32))


def test_the_state_starts_with_an_average_of_its_own_memory():
    state = state_of(averaged=True)
    for weight, average in zip(
        jax.tree.leaves(state.params), jax.tree.leaves(state.average), strict=True
    ):
        assert jnp.asarray(weight).unsafe_buffer_pointer() != (
            jnp.asarray(average).unsafe_buffer_pointer()
        )
