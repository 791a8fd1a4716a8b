"""What holds for every optimiser; a new one joins a list with one line."""

import dataclasses
import json
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from search.space import Choice, Space
from supernets.activity import active_entries, hold_inactive
from supernets.importance import sort_state
from supernets.layers import ElasticFeedForward, ElasticPositions, ElasticRmsNorm
from supernets.lowering import fixed_extents
from supernets.moments import of_weights
from supernets.optimizers.adafactor import Adafactor
from supernets.optimizers.adamw import AdamW
from supernets.optimizers.lion import Lion
from supernets.optimizers.registry import OptimizerSpec
from supernets.optimizers.schedules import Constant, Cosine, Linear
from supernets.optimizers.sgd import Sgd
from supernets.training import TrainState
from tests.kernels.comparison import assert_close, assert_equal, quick_jit

OPTIMIZERS = [
    AdamW(),
    Lion(),
    Sgd(),
    Sgd(nesterov=True),
    Sgd(momentum=0.0),
    Adafactor(),
    Adafactor(factored=2),
]

every = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)

WIDTH, HIDDEN = Choice("width", (3, 6)), Choice("hidden", (2, 4))
SPACE = Space((WIDTH, HIDDEN))
STEPS = 10


class Network(nnx.Module):
    """One weight of each kind: matrices, a vector and positions."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.norm = ElasticRmsNorm(WIDTH)
        self.positions = ElasticPositions(2, WIDTH, rngs=rngs)
        self.network = ElasticFeedForward(WIDTH, HIDDEN, rngs=rngs)


def params_like(seed):
    params = nnx.state(Network(), nnx.Param)
    random = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(random.normal(size=leaf.shape), jnp.float32), params
    )


def update_of(transform):
    """One update, as a step makes it."""

    @quick_jit
    def update(gradient, state, params):
        with jax.numpy_dtype_promotion("standard"):
            updates, state = transform.update(gradient, state, params)
        return jax.tree.map(jnp.add, params, updates), state

    return update


def trained(optimizer, updates=3):
    """The state after some updates, with gradients of everything."""
    transform = optimizer.transform(STEPS)
    update, params = update_of(transform), params_like(0)
    state = transform.init(params)
    for seed in range(updates):
        params, state = update(params_like(seed + 1), state, params)
    return transform, params, state


def test_every_optimiser_that_a_recipe_may_name_is_here():
    assert {type(each) for each in OPTIMIZERS} == set(typing.get_args(OptimizerSpec))


@every
def test_an_optimiser_is_a_plain_value(optimizer):
    fields = json.loads(json.dumps(dataclasses.asdict(optimizer)))
    fields["schedule"] = Cosine(**fields["schedule"])
    again = type(optimizer)(**fields)
    assert again == optimizer
    assert hash(again) == hash(optimizer)
    with pytest.raises(dataclasses.FrozenInstanceError):
        optimizer.clip = 2.0


@every
def test_it_finds_the_minimum_of_a_bowl(optimizer):
    steps = 400
    # Updates of one size come as near as the last rate is small.
    changes = {"weight_decay": 0.0, "clip": 100.0, "schedule": Linear(floor=0.0)}
    changes["learning_rate"] = 0.1 if isinstance(optimizer, Sgd) else 0.05
    optimizer = dataclasses.replace(optimizer, **changes)
    transform, goal = optimizer.transform(steps), params_like(1)
    update, params = update_of(transform), params_like(0)
    state = transform.init(params)
    first = distance(params, goal)
    for _ in range(steps):
        gradient = jax.tree.map(jnp.subtract, params, goal)
        params, state = update(gradient, state, params)
    assert distance(params, goal) < 0.1 * first


def distance(params, goal):
    apart = jax.tree.map(jnp.subtract, params, goal)
    return float(sum(jnp.sum(part**2) for part in jax.tree.leaves(apart)) ** 0.5)


@every
@pytest.mark.parametrize("decayed", ["all", "matrices"])
def test_without_a_gradient_what_decays_does_so_by_the_rate(optimizer, decayed):
    changes = {"learning_rate": 0.5, "weight_decay": 0.1, "decayed": decayed}
    schedule = Constant(warmup=0.0)
    optimizer = dataclasses.replace(optimizer, **changes, schedule=schedule)
    transform, params = optimizer.transform(STEPS), params_like(0)
    update, nothing = update_of(transform), jax.tree.map(jnp.zeros_like, params)
    # The first step has a rate of zero.
    still, state = update(nothing, transform.init(params), params)
    assert_equal(still, params)
    after = update(nothing, state, params)[0]
    smaller = jax.tree.map(lambda weight: weight * (1 - 0.5 * 0.1), params)
    assert_close(after["network"], smaller["network"])
    for name in ("norm", "positions"):
        expected = (smaller if decayed == "all" else params)[name]
        assert_close(after[name], expected)


@every
def test_what_no_subnet_used_stands_still(optimizer):
    optimizer = dataclasses.replace(optimizer, weight_decay=0.1)
    transform, params, state = trained(optimizer)
    active = active_entries(Network(), fixed_extents(SPACE, SPACE.smallest))
    gradient = jax.tree.map(jnp.where, active, params_like(9), zeros(params))
    new = update_of(transform)(gradient, state, params)
    held, kept = hold_inactive(transform, active, new=new, old=(params, state))
    touched = of_weights(
        transform, state, params, active, along=jnp.any, otherwise=None
    )
    for before, after, used in pairs((params, state), (held, kept), (active, touched)):
        assert_equal(after[~used], before[~used])
    changed = [
        (before != after)[used].all()
        for before, after, used in pairs(params, held, active)
    ]
    assert all(changed)
    # Without holding, decay alone would move it.
    assert any(
        (before != after)[~used].any()
        for before, after, used in pairs(params, new[0], active)
    )


def zeros(tree):
    return jax.tree.map(jnp.zeros_like, tree)


def pairs(before, after, used):
    """Arrays of two trees and which entries were used, where it is known."""

    def unknown(leaf):
        return leaf is None

    leaves = (jax.tree.leaves(tree) for tree in (before, after))
    masks = jax.tree.leaves(used, is_leaf=unknown)
    for old, new, mask in zip(*leaves, masks, strict=True):
        if mask is not None:
            yield np.asarray(old), np.asarray(new), np.asarray(mask)


@pytest.mark.slow
@every
def test_training_goes_on_as_if_channels_had_always_been_sorted(optimizer):
    transform, params, state = trained(optimizer)
    update, gradient = update_of(transform), params_like(9)

    def in_order(state, beside):
        """Sorted by the importance of the same weights."""
        names = ("width", "hidden")
        given = TrainState(params, state, beside)
        return sort_state(Network(), SPACE, transform, given, names)

    new_params, new_state = update(gradient, state, params)
    expected = in_order(new_state, new_params)
    early = in_order(state, gradient)
    found = update(early.average, early.optimizer, early.params)
    assert_close(found, (expected.average, expected.optimizer))
    assert not np.array_equal(
        *(p["network"]["up"][...] for p in (early.params, params))
    )
