"""Policies train a supernet: one for each kind of slots that there are."""

import jax
import numpy as np
import optax
import pytest

from supernets.losses.exits import ExitLoss
from supernets.losses.loss import Batch
from supernets.losses.losses import Losses
from supernets.phases import Phase, Plan
from supernets.policies.attentive import Attentive
from supernets.policies.largest_only import LargestOnly
from supernets.policies.sandwich import Sandwich
from supernets.policies.sorted import Sorted
from supernets.policies.uniform import Uniform
from supernets.training import initial_state, make_train_step
from tests.kernels.comparison import assert_close
from tests.supernets.toy import (
    TOKENS,
    random_weights,
    random_windows,
    small_decoder,
    unweighted,
    with_weights,
)

SPEC = small_decoder(width=(8,), heads=(2,))
STEPS = 20


def price(genotypes):
    return SPEC.costs(genotypes, batch=1, example=(TOKENS,))["macs"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "phase",
    [
        Phase(policy=Sandwich(), full=0.3),
        Phase(policy=Attentive(keep="worst")),
        Phase(policy=Uniform(subnets=2), full=0.3),
        Phase(policy=Sorted(submodels="all", teacher="previous")),
    ],
    ids=lambda phase: type(phase.policy).__name__,
)
def test_a_policy_lowers_the_loss_of_what_it_trains(phase):
    space, optimizer = SPEC.space(), optax.adam(1e-2)
    plan = Plan((phase,), STEPS, space, price, 0)
    step = make_train_step(
        unweighted(SPEC),
        space,
        optimizer,
        phase.slots(space),
        losses=phase.losses,
        execution="masked",
    )
    state = initial_state(with_weights(SPEC, random_weights(SPEC)), optimizer)
    losses = []
    for number in range(STEPS):
        draw = plan.step(number).draw
        state, metrics = step(state, Batch(*random_windows()), draw, number)
        # Slots of weight zero are not run.
        assert (np.isnan(metrics.losses) == (draw.weights == 0)).all()
        losses.append(np.nanmean(metrics.losses))
    assert losses[-1] < 0.9 * losses[0]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))


@pytest.mark.slow
def test_depths_as_passes_and_as_exits_of_one_pass_have_the_same_gradient():
    spec = small_decoder(width=(8,), heads=(2,), ffn=(6,), depth=(1, 2, 3))
    space, optimizer = spec.space(), optax.trace(decay=0.0)
    gradients = []
    for phase in (
        Phase(policy=Sorted(submodels="all")),
        Phase(policy=LargestOnly(), losses=Losses(data=ExitLoss())),
    ):
        slots = phase.slots(space)
        step = make_train_step(
            unweighted(spec),
            space,
            optimizer,
            slots,
            losses=phase.losses,
            execution="masked",
        )
        state = initial_state(with_weights(spec, random_weights(spec)), optimizer)
        plan = Plan((phase,), 1, space, price, 0)
        state, _ = step(state, Batch(*random_windows()), plan.step(0).draw, 0)
        gradients.append(state.optimizer.trace)
    assert_close(*gradients)
