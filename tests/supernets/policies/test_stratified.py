"""Subnets of every cost alike."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.space import Choice, Depth, Space
from supernets.policies.policy import Subnets
from supernets.policies.stratified import near_costs, sample, target_costs
from tests.search.strategies import build_space, space_specs
from tests.supernets.policies.priced import SPACES, moments, priced

FFN = Choice("ffn", (1, 2, 3, 4), per_layer=True)
HEADS = Choice("heads", (1, 2, 3), per_layer=True)
DEEP = {
    "flat": Space((FFN, HEADS), 12),
    "prefix": Space((FFN, HEADS), 12, Depth((6, 8, 10, 12))),
    "free": Space((FFN, HEADS), 12, Depth(tuple(range(6, 13)), "free")),
}


def tenths(subnets: Subnets, sampling: str) -> np.ndarray:
    """Shares of drawn subnets in each tenth of the cost range."""
    low, high = subnets.cost_range
    drawn = [sample(subnets, 2, moment.rng, sampling) for moment in moments(300)]
    where = (subnets.cost(np.concatenate(drawn)) - low) / (high - low)
    return np.histogram(where, 10, (0, 1))[0] / len(where)


@pytest.mark.parametrize("name", DEEP)
def test_costs_are_even_where_uniform_genes_pile_up(name):
    subnets = priced(DEEP[name])
    stratified, uniform = (tenths(subnets, s) for s in ("stratified", "uniform"))
    assert stratified.min() > 0.06
    assert stratified.max() < 0.14
    assert uniform.min() < 0.002
    assert uniform.max() > 0.17


def test_shares_of_uniform_subnets_shrink_with_the_layers():
    # The mean index of three values over L layers has a deviation of sqrt(2 / 3 / L).
    bits = Choice("bits", (2, 3, 4), per_layer=True)
    for layers in (8, 32, 128):
        space = Space((bits,), layers)
        drawn = space.sample(4000, np.random.default_rng(layers))
        spread = space.values(drawn, "bits").mean(1).std()
        assert spread == pytest.approx(np.sqrt(2 / 3 / layers), rel=0.05)


def test_each_step_has_a_cost_from_each_part_of_the_range():
    subnets = priced(SPACES["flat"])
    low, high = subnets.cost_range
    orders = set()
    for moment in moments(50):
        where = (target_costs(subnets, 3, moment.rng) - low) / (high - low)
        parts = np.floor(where * 3).astype(int).tolist()
        assert sorted(parts) == [0, 1, 2]
        orders.add(tuple(parts))
    assert len(orders) == 6


def test_the_first_target_is_uniform_over_the_whole_range():
    subnets = priced(SPACES["flat"])
    low, high = subnets.cost_range
    first = [target_costs(subnets, 4, moment.rng)[0] for moment in moments(2000)]
    share = np.histogram((np.asarray(first) - low) / (high - low), 5, (0, 1))[0] / 2000
    assert np.allclose(share, 0.2, atol=0.03)


def test_what_is_drawn_is_near_its_target():
    subnets = priced(DEEP["prefix"])
    low, high = subnets.cost_range
    targets = np.linspace(low, high, 101)
    drawn = near_costs(subnets, targets, np.random.default_rng(0))[:, 0]
    misses = np.abs(subnets.cost(drawn) - targets) / (high - low)
    assert misses.mean() < 0.03
    assert misses.max() < 0.2


def test_several_of_one_cost_are_different_and_near_it():
    subnets = priced(DEEP["prefix"])
    low, high = subnets.cost_range
    targets = np.linspace(low, high, 21)[1:-1]
    offered = near_costs(subnets, targets, np.random.default_rng(0), 4)
    assert offered.shape == (19, 4, subnets.space.genes)
    assert all(len(np.unique(rows, axis=0)) == 4 for rows in offered)
    costs = subnets.cost(offered.reshape(76, -1)).reshape(19, 4)
    assert (np.abs(costs - targets[:, None]) / (high - low)).mean() < 0.06


def test_where_there_are_too_few_some_are_offered_twice():
    subnets = priced(Space((Choice("width", (1, 2)),)))
    targets = np.asarray([subnets.cost_range[0]])
    offered = near_costs(subnets, targets, np.random.default_rng(0), 3)
    assert offered[0, :, 0].tolist()[:2] == [0, 1]
    assert offered.shape == (1, 3, 1)


@pytest.mark.parametrize("sampling", ["stratified", "uniform"])
def test_nothing_may_be_drawn(sampling):
    space = SPACES["flat"]
    drawn = sample(priced(space), 0, np.random.default_rng(0), sampling)
    assert drawn.shape == (0, space.genes)


@settings(max_examples=20)
@given(space_specs(), st.integers(1, 4), st.integers(0, 99))
def test_draws_of_any_space_are_members(spec, count, seed):
    space = build_space(spec)
    drawn = sample(priced(space), count, np.random.default_rng(seed), "stratified")
    assert drawn.shape == (count, space.genes)
    assert space.valid(drawn).all()
