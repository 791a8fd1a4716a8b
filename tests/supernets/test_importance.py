"""Sorting of channels: functions that must not change, and the order that must be."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from search.space import Choice, Space
from supernets.importance import (
    channels_of,
    importance_of,
    sort_state,
    trained_sizes,
)
from supernets.layers import ElasticFeedForward, ElasticLinear
from supernets.losses.loss import Batch
from supernets.lowering import Scaled, indexed_extents
from supernets.optimizers.adamw import AdamW
from supernets.optimizers.schedules import Cosine
from supernets.phases import Phase
from supernets.policies.policy import Slot, draw_of
from supernets.training import TrainState, initial_state
from supernets.weights import flat_weights
from tests.kernels.comparison import assert_close, assert_equal, quick_jit
from tests.supernets.steps import quick_step
from tests.supernets.toy import (
    random_batch,
    random_weights,
    random_windows,
    small_decoder,
    small_multi_task,
    small_vision,
    unweighted,
    with_weights,
)

pytestmark = pytest.mark.slow

NAMES = ("width", "heads", "ffn")
PLAIN = optax.sgd(0.1)

# Query heads in groups, and three sizes of all that is sorted.
SPEC = small_decoder(
    width=(4, 6, 8), heads=(2, 4, 6), ffn=(2, 3, 5), group=2, head_dim=2, norm="layer"
)
SPACE = SPEC.space()

SPECS = {
    "decoder": small_decoder(heads=(0, 2, 4), group=2, gated=False),
    "vision": small_vision(depth=(1,), pooling="token"),
    "multi-task": small_multi_task(depth=(1,)),
}


@functools.cache
def predict(spec):
    """Compiles the logits of any subnet."""
    inputs, _ = random_batch(spec)

    def run(weights, genotype):
        extents = indexed_extents(spec.space(), genotype, "masked")
        return with_weights(spec, weights)(inputs, extents)

    return quick_jit(run)


def random_state(spec, optimizer=PLAIN, seed=0) -> TrainState:
    return initial_state(with_weights(spec, random_weights(spec, seed)), optimizer)


def named(spec, params):
    return flat_weights(nnx.merge(nnx.graphdef(unweighted(spec)), params))


def sorted_params(spec, names=NAMES, within=None, seed=0):
    before = random_state(spec, seed=seed)
    after = sort_state(
        unweighted(spec), spec.space(), PLAIN, before, names, within=within
    )
    return before.params, after.params


@pytest.mark.parametrize("name", SPECS)
def test_the_full_network_stays_and_importance_does_not_increase(name):
    spec = SPECS[name]
    space, run = spec.space(), predict(spec)
    names = tuple(choice.name for choice in space.choices)
    before, after = sorted_params(spec, names)
    logits = [run(named(spec, p), np.asarray(space.largest)) for p in (before, after)]
    assert_close(logits[1], logits[0])
    for channels in channels_of(unweighted(spec), space, names):
        found = np.asarray(importance_of(after, channels))
        assert (np.diff(found) <= 0).all()
        assert_close(found, np.sort(importance_of(before, channels))[::-1])


@pytest.mark.parametrize("gated", [True, False])
def test_subnets_of_trained_sizes_keep_their_function(gated):
    spec = dataclasses.replace(SPEC, gated=gated)
    run, open_ = predict(spec), SPACE.restrict(width=(6, 8), heads=(2, 6), ffn=(3, 5))
    within = trained_sizes([SPACE.restrict(width=(8,), heads=(6,), ffn=(3, 5)), open_])
    assert within == {"width": (6, 8), "heads": (2, 6), "ffn": (3, 5)}
    before, after = sorted_params(spec, within=within)
    genotypes = SPACE.lift(open_, open_.sample(12, np.random.default_rng(0)))
    for genotype in (*genotypes, SPACE.largest):
        logits = [run(named(spec, params), genotype) for params in (before, after)]
        assert_close(logits[1], logits[0])
    smallest = np.asarray(SPACE.smallest)
    opened = [run(named(spec, params), smallest) for params in (before, after)]
    assert not np.allclose(*opened, atol=1e-2)
    for channels in channels_of(unweighted(spec), SPACE, NAMES, within=within):
        found = np.asarray(importance_of(after, channels))
        parts = np.split(found, channels.ends[:-1])
        assert len(parts) == 2
        assert all((np.diff(part) <= 0).all() for part in parts)


def test_heads_move_in_the_groups_that_share_a_key_value_head():
    before, after = sorted_params(SPEC, ("heads",), seed=3)
    old, new = (named(SPEC, params) for params in (before, after))
    block = "blocks.1.attention"
    groups = np.asarray(old[f"{block}.output"]).reshape(3, 2, 2, 8)
    order = np.argsort(-np.abs(groups).sum((1, 2, 3)))
    assert order.tolist() == [2, 0, 1]
    moved = np.asarray(new[f"{block}.output"]).reshape(3, 2, 2, 8)
    assert_equal(moved, groups[order])
    assert_equal(new[f"{block}.key"], np.asarray(old[f"{block}.key"])[:, order])
    untouched = [name for name in old if "attention." not in name]
    assert_equal({n: new[n] for n in untouched}, {n: old[n] for n in untouched})
    heads = channels_of(unweighted(SPEC), SPACE, ("heads",))
    assert [(c.layer, c.size, len(c.axes)) for c in heads] == [(0, 3, 4), (1, 3, 4)]


def test_the_width_is_sorted_alike_in_the_whole_network():
    (width,) = channels_of(unweighted(SPEC), SPACE, ("width",))
    names = {".".join(map(str, axis.path)) for axis in width.axes}
    assert names == set(random_weights(SPEC))
    assert (width.layer, width.size, width.names) == (None, 8, ("width",))
    readers = {axis.path[-1] for axis in width.axes if axis.reads}
    assert readers == {"query", "key", "value", "up", "gate"}


def test_ties_keep_their_order():
    state = random_state(SPEC)
    constant = state._replace(params=jax.tree.map(jnp.ones_like, state.params))
    marked = jax.tree.map(lambda p: p, constant.params)
    scale = marked["norm"]["scale"]
    marked["norm"]["scale"] = scale.replace(jnp.arange(8.0))
    after = sort_state(
        unweighted(SPEC), SPACE, PLAIN, constant._replace(params=marked), NAMES
    )
    assert_equal(after.params, marked)


ADAMW = AdamW(
    learning_rate=0.01, schedule=Cosine(warmup=0.0), weight_decay=0.1
).transform(100)


def test_training_goes_on_as_if_channels_had_always_been_so(compilations):
    spec = dataclasses.replace(SPEC, depth=(1,))
    space = spec.space()
    slots = (Slot(role="largest", fixed=True),)
    step = quick_step(spec, slots, ADAMW)
    draw = draw_of(space.largest[None])

    def train(state, numbers):
        for number in numbers:
            state, metrics = step(state, Batch(*random_windows(number)), draw, number)
        return state, metrics

    state, _ = train(random_state(spec, ADAMW), range(3))
    # In place of moments, where each entry was.
    clip, (moments, *rest) = state.optimizer
    places = jax.tree.map(lambda p: jnp.arange(p.size).reshape(p.shape), moments.mu)
    marked = state._replace(optimizer=(clip, (moments._replace(mu=places), *rest)))
    origin = sort_state(unweighted(spec), space, ADAMW, marked, NAMES)
    early = sort_state(unweighted(spec), space, ADAMW, state, NAMES)
    compilations.clear()
    continued, metrics = train(early, range(3, 6))
    assert not compilations
    plain, expected = train(state, range(3, 6))
    assert_close(metrics, expected)
    origin = origin.optimizer[1][0].mu
    for found, wanted in zip(parts_of(continued), parts_of(plain), strict=True):
        moved = jax.tree.map(lambda w, place: jnp.ravel(w)[place], wanted, origin)
        assert_close(found, moved)
    order = np.asarray(origin["norm"]["scale"][...])
    assert (order != np.arange(8)).any()


def parts_of(state):
    moments = state.optimizer[1][0]
    assert int(moments.count) == 6
    return state.params, moments.mu, moments.nu


def test_arrays_stay_where_they_are():
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    state = random_state(SPEC)
    spread = jax.device_put(state, everywhere)
    after = sort_state(unweighted(SPEC), SPACE, PLAIN, spread, ("ffn",))
    assert {leaf.sharding for leaf in jax.tree.leaves(after)} == {everywhere}
    alone = sort_state(unweighted(SPEC), SPACE, PLAIN, state, ("ffn",))
    assert_equal(after, alone)


class Pair(nnx.Module):
    """Hidden units by width and ratio, read by one more layer; and what is unread."""

    def __init__(self, width, ratio):
        rngs = nnx.Rngs(0)
        hidden = Scaled(width, ratio, 2)
        self.network = ElasticFeedForward(width, hidden, use_gate=False, rngs=rngs)
        self.out = ElasticLinear(3, Scaled(width, 2), rngs=rngs)


def test_dimensions_that_choices_make_together_have_channels_of_their_own():
    width, ratio = Choice("width", (2, 4)), Choice("ratio", (3, 4))
    space, pair = Space((width, ratio)), Pair(width, ratio)
    (hidden,) = channels_of(pair, space, ("ratio",), within={"ratio": (3,)})
    assert hidden.names == ("ratio", "width")
    assert hidden.ends == (6, 8)
    assert [axis.path for axis in hidden.axes] == [("network", n) for n in HIDDEN]
    within = {"ratio": (3, 4), "width": (2, 4)}
    both = channels_of(pair, space, ("width",), within=within)
    assert [c.ends for c in both] == [(2, 4), (3, 4, 6, 8)]
    # Two entries of a multiple of the width move with each channel of it.
    assert [axis.dimension for axis in both[0].axes[-2:]] == [Scaled(width, 2)] * 2
    norms = importance_of(nnx.state(pair, nnx.Param), both[0])
    assert_close(norms, np.abs(pair.network.up[...]).sum(1))


HIDDEN = ("up", "down")


def test_channels_that_nobody_reads_count_by_what_holds_them():
    width = Choice("width", (2, 4))
    layer = ElasticLinear(3, width, rngs=nnx.Rngs(0))
    (channels,) = channels_of(layer, Space((width,)), ("width",))
    found = importance_of(nnx.state(layer, nnx.Param), channels)
    assert_close(found, np.abs(layer.kernel[...]).sum(0) + np.abs(layer.bias[...]))


@pytest.mark.parametrize(
    ("names", "within", "message"),
    [
        (("depth",), {}, r"'depth' has no channels to sort; sizes are \['width', "),
        (("ffn",), {"hat": (1,)}, "'hat' has no channels"),
        (("ffn",), {"ffn": (4,)}, "'ffn' has no value 4"),
    ],
)
def test_names_and_sizes_that_are_not_there_are_refused(names, within, message):
    with pytest.raises(ValueError, match=message):
        channels_of(unweighted(SPEC), SPACE, names, within=within)


def test_a_phase_that_sorts_what_has_no_channels_is_refused_before_it_begins():
    assert Phase(sort=NAMES).slots(SPACE) == Phase().slots(SPACE)
    with pytest.raises(ValueError, match="'depth' has no channels to sort; sizes are"):
        Phase(sort=("ffn", "depth")).slots(SPACE)


def test_moments_of_another_shape_are_refused():
    def flattened(params):
        return jax.tree.map(jnp.ravel, params)

    optimizer = optax.GradientTransformation(flattened, optax.identity().update)
    state = random_state(SPEC, optimizer)
    with pytest.raises(ValueError, match="keeps an array of shape"):
        sort_state(unweighted(SPEC), SPACE, optimizer, state, ("ffn",))
