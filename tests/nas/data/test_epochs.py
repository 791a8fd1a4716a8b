"""Shuffled epochs: each example once, in another order, found from anywhere."""

import numpy as np
import pytest

from nas.data.epochs import SMALL, places_of, shuffled

EVERY = slice(None)
COUNTS = (60, SMALL)
"""Of an epoch that is listed, and of one that is computed."""


@pytest.mark.parametrize("count", COUNTS)
def test_every_epoch_has_each_example_once_in_another_order(count):
    found = shuffled(np.arange(2 * count), count=count, seed=0).reshape(2, count)
    np.testing.assert_array_equal(np.sort(found, axis=1), [np.arange(count)] * 2)
    assert (found[0] != found[1]).mean() > 0.9
    assert (found[0] != np.arange(count)).mean() > 0.9


@pytest.mark.parametrize("count", COUNTS)
def test_seeds_share_no_order_not_even_of_other_epochs(count):
    orders = [
        tuple(shuffled(np.arange(20) + count * epoch, count=count, seed=seed).tolist())
        for seed in range(4)
        for epoch in range(4)
    ]
    assert len(set(orders)) == 16


@pytest.mark.parametrize("count", COUNTS)
def test_a_place_needs_none_of_those_before(count):
    whole = shuffled(np.arange(1000), count=count, seed=5)
    few = np.asarray([999, 0, 500])
    np.testing.assert_array_equal(shuffled(few, count=count, seed=5), whole[few])


def test_an_order_of_a_billion_is_as_cheap_as_any():
    found = shuffled(np.arange(1000) + 10**12, count=10**9, seed=1)
    assert len(set(found.tolist())) == 1000
    assert 0 <= found.min() < 5e7
    assert 9.5e8 < found.max() < 1e9


def test_a_single_example_comes_in_every_place():
    assert shuffled(np.arange(5), count=1, seed=0).tolist() == [0] * 5


def test_places_of_steps_follow_each_other():
    steps = [places_of(size=4, step=step, rows=EVERY) for step in range(3)]
    assert np.concatenate(steps).tolist() == list(range(12))
    assert places_of(size=4, step=2, rows=slice(1, 3)).tolist() == [9, 10]
