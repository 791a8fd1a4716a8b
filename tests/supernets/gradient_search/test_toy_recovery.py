"""Searches where the answer is known: a teacher of 8 units, students of 2 to 32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from supernets.gradient_search.samplings import Dirichlet, Softmax
from supernets.gradient_search.specs import GradientSearch, Joint, Multipliers
from supernets.gradient_search.state import Batches
from supernets.gradient_search.step import make_search_step
from supernets.optimizers.adamw import AdamW
from tests.supernets.gradient_search.toy import (
    HIDDEN,
    NETWORK,
    SPACE,
    data,
    losses,
    params_of,
    trained,
)

PRICES = {"hidden": lambda genotypes: np.asarray(HIDDEN.values, float)[genotypes[:, 0]]}
LIMITS = {"hidden": 32.0}


PRICES_OF_WIDTH = (0.01, 0.1, 1.0, 3.0, 10.0, 30.0)
"""Of the widest student, in units of the loss."""


def run(step, params, batches, seed, price=0.0):
    """The state and metrics after all steps, at a fixed price."""
    first, steps = jax.random.split(jax.random.key(seed))
    state = step.initial_state(params, key=first)
    priced = state.architecture._replace(multipliers=jnp.asarray([price]))
    state = state._replace(architecture=priced)
    for number in range(step.spec.steps):
        state, metrics = step(state, batches, LIMITS, number, key=steps)
    return state, metrics


@pytest.mark.slow
@pytest.mark.parametrize(("sampling", "least"), [(Softmax(), 15), (Dirichlet(), 13)])
def test_on_trained_weights_the_cheapest_trade_is_found(sampling, least):
    spec = GradientSearch(
        steps=300, sampling=sampling, multipliers=Multipliers(rate=0.0)
    )
    step = make_search_step(NETWORK, SPACE, spec, PRICES)
    shares = np.asarray(HIDDEN.values) / LIMITS["hidden"]
    right = 0
    for seed in range(3):
        params, batch = trained(seed), data(seed, half=1)
        for price in PRICES_OF_WIDTH:
            _, metrics = run(step, params, Batches(batch), seed, price)
            best = np.argmin(np.asarray(losses(params, batch)) + price * shares)
            right += int(best == metrics.genotype[0])
    assert right >= least


@pytest.mark.slow
def test_soft_weights_and_architecture_together_take_the_widest_for_nothing():
    spec = GradientSearch(
        steps=1000,
        regime=Joint(optimizer=AdamW(learning_rate=3e-3, weight_decay=0.0)),
        sampling=Softmax(temperature=(1.0, 1.0)),
        learning_rate=1e-2,
    )
    step = make_search_step(NETWORK, SPACE, spec, PRICES)
    for seed in range(5):
        batch = data(seed)
        state, metrics = run(step, params_of(seed), Batches(weights=batch), seed)
        picked = int(metrics.genotype[0])
        assert HIDDEN.values[picked] == 32
        # Weights undo the mask: the mixture fits the teacher, its subnet does not.
        sliced = float(losses(state.params, batch)[picked])
        assert sliced > 50 * float(metrics.loss)
