"""Slots that have examples of their own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from supernets.losses.loss import Batch
from supernets.policies.policy import Moment, Subnets
from supernets.policies.sandwich import Sandwich
from supernets.policies.uniform import Uniform
from supernets.training import initial_state, make_train_step
from tests.kernels.comparison import assert_close
from tests.supernets.steps import DESCENT, quick_step
from tests.supernets.toy import (
    random_weights,
    random_windows,
    small_decoder,
    unweighted,
    with_weights,
)

# Default runs leave out what only repeats the work of smaller tests.
pytestmark = pytest.mark.slow

# Few sizes compile quickly.
SPEC = small_decoder(width=(8,), heads=(2,), ffn=(6,))
SPACE = SPEC.space()
POLICY = Sandwich(random=1, teacher="data")
SLOTS = POLICY.slots(SPACE)


def draw():
    subnets = Subnets(SPACE, lambda rows: rows.sum(1).astype(float))
    drawn = POLICY.draw(subnets, Moment(0, 3, 10))
    return drawn._replace(weights=np.asarray([1.0, 0.5, 2.0], np.float32))


def with_random_weights():
    return initial_state(with_weights(SPEC, random_weights(SPEC)), DESCENT)


def taking_turns(*parts):
    return jnp.stack(parts, axis=1).reshape(-1, *parts[0].shape[1:])


def learnt(step, *batches):
    """Gradient of a step, and the losses of its slots, given the batch of each."""
    batch = jax.tree.map(taking_turns, *batches)
    after, metrics = step(with_random_weights(), batch, draw(), 0)
    return after.optimizer[0].trace, np.asarray(metrics.losses)


def test_each_slot_learns_from_its_part_of_the_batch_alone():
    one, other = (Batch(*random_windows(seed)) for seed in (0, 1))
    own, shared = (
        quick_step(SPEC, SLOTS, examples=examples) for examples in ("own", "shared")
    )
    first, losses_first = learnt(own, one, other, other)
    second, losses_second = learnt(own, other, one, one)
    all_one, losses_one = learnt(shared, one)
    all_other, losses_other = learnt(shared, other)
    # Which examples a slot had is told by its loss and, as gradients add up, by sums.
    assert_close(losses_first, [losses_one[0], *losses_other[1:]])
    assert_close(losses_second, [losses_other[0], *losses_one[1:]])
    assert (losses_one != losses_other).all()
    added = functools.partial(jax.tree.map, jnp.add)
    assert_close(added(first, second), added(all_one, all_other))


def test_slots_with_examples_of_their_own_have_no_teacher():
    for policy in (Sandwich(), Uniform(teacher="frozen")):
        with pytest.raises(ValueError, match="let its teacher be 'data'"):
            make_train_step(
                unweighted(SPEC),
                SPACE,
                DESCENT,
                policy.slots(SPACE),
                frozen=with_random_weights().params,
                examples="own",
            )
