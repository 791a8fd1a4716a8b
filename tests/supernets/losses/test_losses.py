"""Which loss a slot has, and that what it needs is there before anything runs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from supernets.losses.alpha_divergence import AlphaDivergence
from supernets.losses.cross_entropy import CrossEntropy
from supernets.losses.distillation import Distillation
from supernets.losses.exits import ExitLoss
from supernets.losses.loss import Batch
from supernets.losses.losses import Losses, exit_depths
from supernets.policies.policy import Moment, Slot, Subnets
from supernets.policies.sandwich import Sandwich
from supernets.regularization import Regularization
from supernets.training import initial_state, make_train_step
from supernets.weights import flat_weights
from tests.kernels.comparison import assert_close, assert_equal, quick_jit
from tests.supernets.losses.worlds import SPACE, SPEC, decoder_network
from tests.supernets.toy import (
    random_weights,
    random_windows,
    small_decoder,
    unweighted,
    with_weights,
)

# Keeps the gradient that it was given.
DESCENT = optax.trace(decay=0.0)

LARGEST = Slot(role="largest", fixed=True)
TAUGHT = Slot(role="sampled", teacher="largest")
ALONE = Slot(role="sampled")


def test_slots_have_the_loss_of_their_role():
    losses = Losses(data=CrossEntropy(smoothing=0.1), taught=AlphaDivergence())
    assert losses.of(LARGEST) == losses.of(ALONE) == CrossEntropy(smoothing=0.1)
    assert losses.of(TAUGHT) == AlphaDivergence()
    apart = dataclasses.replace(losses, largest=ExitLoss())
    assert apart.of(LARGEST) == ExitLoss()
    assert apart.of(ALONE) == CrossEntropy(smoothing=0.1)
    assert apart.of(TAUGHT) == AlphaDivergence()


def test_a_loss_on_the_data_that_needs_a_teacher_is_refused():
    with pytest.raises(ValueError, match=r"losses.data is Distillation, which needs"):
        Losses(data=Distillation())


def step(losses, slots=(LARGEST, TAUGHT), spec=SPEC, **changes):
    return make_train_step(
        unweighted(spec), spec.space(), DESCENT, slots, losses=losses, **changes
    )


def test_a_largest_subnet_without_the_teacher_it_needs_is_refused():
    losses = Losses(largest=Distillation())
    with pytest.raises(ValueError, match=r"slot 0 \(largest\) learns by Distillation"):
        step(losses)
    frozen = nnx.state(with_weights(SPEC, random_weights(SPEC)), nnx.Param)
    taught = dataclasses.replace(LARGEST, teacher="frozen")
    assert callable(step(losses, (taught,), frozen=frozen))


@pytest.mark.parametrize("rule", ["spaced", "free"])
def test_exits_of_a_depth_that_is_not_a_prefix_are_refused(rule):
    spec = small_decoder(depth_rule=rule)
    assert exit_depths(spec.space()) == ()
    with pytest.raises(ValueError, match=f"'prefix' rule, got '{rule}'"):
        step(Losses(largest=ExitLoss()), spec=spec)


def test_exits_of_a_smaller_subnet_are_refused():
    with pytest.raises(ValueError, match=r"slot 1 \(sampled\) .* as losses.largest"):
        step(Losses(data=ExitLoss()), (LARGEST, ALONE))


def test_exits_with_noise_are_refused():
    noisy = Regularization(drop_path=0.1)
    with pytest.raises(ValueError, match="set dropout and drop_path"):
        step(Losses(largest=ExitLoss()), regularization=noisy)


def test_a_detached_subnet_has_no_noise_and_no_gradient():
    noise = Regularization(dropout=0.5).noise(jax.random.key(0))
    network = dataclasses.replace(decoder_network(random_weights(SPEC)), noise=noise)
    assert network.detached().noise is None
    assert_equal(network.detached().params, network.params)

    def total(params):
        held = dataclasses.replace(network, params=params)
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(held.detached().params))

    gradient = quick_jit(jax.grad(total))(network.params)
    assert_equal(gradient, jax.tree.map(np.zeros_like, gradient))


@pytest.mark.slow
@pytest.mark.parametrize("execution", ["masked", "switched"])
def test_a_step_trains_exits_and_those_who_learn_from_the_largest(execution):
    losses = Losses(largest=ExitLoss(), taught=AlphaDivergence(share=0.6))
    policy, batch = Sandwich(random=0), Batch(*random_windows())
    weights = random_weights(SPEC)

    def expected(weights):
        largest = decoder_network(weights)
        smallest = decoder_network(weights, SPACE.smallest)
        outputs = jax.lax.stop_gradient(largest(batch.inputs))
        first = losses.largest(largest, batch, None, jax.random.key(0))
        second = losses.taught(smallest, batch, outputs, jax.random.key(1))
        return (first.objective + second.objective) / 2

    state = initial_state(with_weights(SPEC, weights), DESCENT)
    run = step(losses, policy.slots(SPACE), execution=execution)
    draw = policy.draw(Subnets(SPACE, lambda rows: rows.sum(-1)), Moment(0, 0, 1))
    state, metrics = run(state, batch, draw, 0)
    gradient = quick_jit(jax.grad(expected))(weights)
    graph = nnx.graphdef(unweighted(SPEC))
    assert_close(flat_weights(nnx.merge(graph, state.optimizer.trace)), gradient)
    assert np.isfinite(metrics.losses).all()
