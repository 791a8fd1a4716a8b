"""Weights of exits, and what each exit learns from."""

import itertools

import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from hypothesis import given, settings

from supernets.losses.cross_entropy import CrossEntropy
from supernets.losses.entropy import cross_entropy, distillation
from supernets.losses.exits import ExitLoss
from tests.kernels.comparison import assert_close, assert_equal, quick_jit
from tests.supernets.losses.networks import (
    DEPTHS,
    ImageNetwork,
    image_batch,
    image_weights,
    lesson,
    weight_gradient,
)

WEIGHTS = image_weights(tasks=False)
NETWORK, BATCH = ImageNetwork(WEIGHTS), image_batch(tasks=False)


@pytest.fixture(scope="module")
def exits():
    return quick_jit(NETWORK.exits)(BATCH.inputs)


@pytest.fixture(scope="module")
def losses(exits):
    return [cross_entropy(read.logits, BATCH.targets) for read in exits]


@settings(max_examples=40)
@given(
    depths=st.sets(st.integers(1, 40), min_size=1).map(lambda d: tuple(sorted(d))),
    weights=st.sampled_from(["equal", "depth", "last"]),
    early=st.floats(0, 1),
)
def test_weights_add_up_to_one(depths, weights, early):
    found = ExitLoss(weights=weights, early=early).exit_weights(depths)
    assert len(found) == len(depths)
    assert min(found) >= 0
    assert abs(sum(found) - 1) < 1e-9
    assert found[-1] == max(found)


def test_equal_and_depth_weights_are_those_of_their_papers():
    sorted_llama = tuple(range(12, 41, 4))
    assert set(ExitLoss().exit_weights(sorted_llama)) == {1 / 8}
    starred = ExitLoss(weights="depth").exit_weights((4, 9, 18, 27, 36))
    assert starred == tuple(n / 94 for n in (4, 9, 18, 27, 36))


@pytest.mark.parametrize("early", [0.2, 1.0])
def test_last_weights_are_those_of_layer_skip(early):
    """From the sums over layers as the paper writes them, for an exit after each."""
    layers = 6
    raw = [early * sum(range(layer + 1)) for layer in range(layers - 1)]
    raw.append(layers - 1 + early * sum(range(layers - 1)))
    found = ExitLoss(weights="last", early=early).exit_weights(tuple(range(1, 7)))
    assert found == pytest.approx(np.divide(raw, sum(raw)))


@pytest.mark.parametrize("weights", ["equal", "depth", "last"])
def test_the_deepest_exit_has_all_of_the_weight_if_it_is_alone(weights):
    assert ExitLoss(weights=weights, early=0.0).exit_weights(DEPTHS) == (0, 0, 1)
    for depth in (1, 2, 3):
        assert ExitLoss(weights=weights).exit_weights((depth,)) == (1,)


@pytest.mark.parametrize("counted", ["all", "rotating"])
def test_the_deepest_exit_alone_is_the_plain_loss(counted):
    plain = lesson(CrossEntropy(), NETWORK, BATCH).objective
    loss = ExitLoss(early=0.0, exits=counted, share=0.5)
    assert_equal(lesson(loss, NETWORK, BATCH).objective, plain)
    only = ImageNetwork(WEIGHTS, depths=DEPTHS[-1:])
    loss = ExitLoss(exits=counted, share=0.5)
    assert_equal(lesson(loss, only, BATCH).objective, plain)


def test_the_loss_is_the_weighted_mean_over_exits(exits, losses):
    found = lesson(ExitLoss(weights="depth"), NETWORK, BATCH)
    assert_close(found.objective, np.average(losses, weights=DEPTHS))
    assert_close(found.outputs, exits[-1])


@pytest.mark.parametrize(("teacher", "deeper"), [("next", (1, 2)), ("last", (2, 2))])
def test_exits_learn_from_deeper_ones(exits, losses, teacher, deeper):
    share = 0.3
    soft = [
        distillation(exits[index].logits, exits[other].logits)
        for index, other in enumerate(deeper)
    ]
    mixed = [
        (1 - share) * data + share * taught
        for data, taught in zip(losses[:2], soft, strict=True)
    ]
    loss = ExitLoss(share=share, teacher=teacher)
    found = lesson(loss, NETWORK, BATCH).objective
    assert_close(found, np.mean([*mixed, losses[2]]))


def test_no_gradient_reaches_a_deeper_exit_from_one_that_learns_from_it():
    """With all of the weight on imitation the last layer learns from the data alone."""
    imitating = ExitLoss(share=1.0, teacher="last")
    ours, plain = (
        weight_gradient(loss, NETWORK, BATCH)["layers"][-1]
        for loss in (imitating, CrossEntropy())
    )
    assert_close(ours, plain / 3)


def test_rotating_exits_take_turns_beside_the_last():
    depths, loss = (2, 5, 6, 9), ExitLoss(weights="depth", exits="rotating")
    keys = jax.random.split(jax.random.key(0), 60)
    draw = jax.vmap(lambda key: loss.weights_in_step(depths, key))
    rows = np.stack(quick_jit(draw)(keys), axis=-1)
    np.testing.assert_allclose(rows.sum(-1), 1, rtol=1e-6)
    assert ((rows > 0).sum(-1) == 2).all()
    for row in rows:
        picked = int(np.argmax(row[:-1]))
        assert row[-1] == pytest.approx(9 / (9 + depths[picked]))
    counts = np.bincount(np.argmax(rows[:, :-1], axis=-1), minlength=3)
    assert counts.min() > 10


def test_rotating_exits_give_the_loss_of_the_one_that_is_picked(losses):
    loss = ExitLoss(exits="rotating")
    pairs = [(losses[index] + losses[-1]) / 2 for index in range(2)]
    found = {
        round(float(lesson(loss, NETWORK, BATCH, seed=s).objective), 5)
        for s in range(8)
    }
    assert found == {round(float(pair), 5) for pair in pairs}


@pytest.mark.parametrize("name", ["early", "share"])
def test_values_out_of_range_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must lie in 0..1, got 1.5"):
        ExitLoss(**{name: 1.5})


def test_exits_are_in_order_of_depth(exits):
    assert len(exits) == len(DEPTHS)
    differences = [
        np.abs(a.logits - b.logits).max() for a, b in itertools.combinations(exits, 2)
    ]
    assert min(differences) > 1e-3
