"""Slots, draws and moments."""

import itertools

import numpy as np
import pytest

from supernets.policies.policy import Moment, Slot, draw_of
from tests.supernets.policies.priced import SPACES, priced


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"candidates": 0}, "a slot needs a candidate, got 0"),
        ({"candidates": 2, "fixed": True}, "no other candidates"),
    ],
)
def test_slots_that_cannot_be_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Slot(role="any", **values)


def test_a_slot_with_fewer_candidates_repeats_its_own():
    one, three = np.asarray([[7, 8]]), np.arange(6).reshape(3, 2)
    draw = draw_of(one, three, weights=(1.0, 0.5))
    assert draw.genotypes.tolist() == [[[7, 8]] * 3, [[0, 1], [2, 3], [4, 5]]]
    assert draw.weights.tolist() == [1.0, 0.5]
    assert draw_of(one, one).weights.tolist() == [1.0, 1.0]


def test_no_two_steps_of_a_run_share_their_randomness():
    seeds = (0, 1, 2**32, 2**32 + 1)
    steps, phases, purposes = range(4), range(4), range(3)
    keys = list(itertools.product(seeds, steps, phases, purposes))
    numbers = [
        Moment(seed, step, 4, phase).generator(purpose).random()
        for seed, step, phase, purpose in keys
    ]
    assert len(set(numbers)) == len(keys)
    again = Moment(2**32, 3, 4, 2)
    assert again.rng.random() == numbers[keys.index((2**32, 3, 2, 0))]
    assert again.rng.random() == again.rng.random()


def test_progress_runs_from_nothing_to_all():
    assert [Moment(0, step, 5).progress for step in range(5)] == [0, 0.25, 0.5, 0.75, 1]
    assert Moment(0, 0, 1).progress == 0


def test_the_cost_range_is_that_of_the_ends():
    subnets = priced(SPACES["flat"])
    ends = np.stack([subnets.space.smallest, subnets.space.largest])
    assert subnets.cost_range == tuple(subnets.cost(ends))
