"""The sandwich rule with picked subnets."""

import numpy as np
import pytest

from search.space import Choice, Depth, Space
from supernets.policies.attentive import Attentive
from supernets.policies.policy import Slot
from supernets.policies.sandwich import Sandwich
from tests.supernets.policies.priced import moments, priced

FFN = Choice("ffn", (1, 2, 3, 4), per_layer=True)
SPACE = Space((FFN,), 12, Depth((6, 8, 10, 12)))


def test_it_is_a_sandwich_whose_random_slots_offer_candidates():
    policy = Attentive(random=3, candidates=4, keep="worst")
    ends = Sandwich(random=0).slots(SPACE)
    picked = Slot(role="sampled", teacher="largest", candidates=4, keep="worst")
    assert policy.slots(SPACE) == (*ends, picked, picked, picked)
    genotypes = policy.draw(priced(SPACE), moments(1)[0]).genotypes
    assert genotypes.shape == (5, 4, SPACE.genes)
    assert (genotypes[0] == SPACE.largest).all()
    assert (genotypes[1] == SPACE.smallest).all()


def test_candidates_differ_but_cost_alike_while_slots_do_not():
    policy, subnets = Attentive(), priced(SPACE)
    low, high = subnets.cost_range
    within, between = [], []
    for moment in moments(100):
        offered = policy.draw(subnets, moment).genotypes[2:]
        assert all(len(np.unique(rows, axis=0)) == 3 for rows in offered)
        costs = subnets.cost(offered.reshape(6, -1)).reshape(2, 3) / (high - low)
        within.append(np.ptp(costs, axis=1).mean())
        between.append(np.ptp(costs.mean(1)))
    assert np.mean(within) < 0.1
    # Two numbers from the two halves of 0..1 are a half apart.
    assert np.mean(between) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"random": 0}, "random must be at least 1, got 0"),
        ({"candidates": 1}, "at least 2, got 1; with one there is nothing to pick"),
    ],
)
def test_values_out_of_range_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Attentive(**values)
