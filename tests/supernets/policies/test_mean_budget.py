"""Subnets whose mean size follows a triangle."""

import numpy as np
import pytest

from search.space import Choice, Space
from supernets.policies.mean_budget import MeanBudget
from supernets.policies.policy import Moment
from supernets.policies.uniform import Uniform
from tests.supernets.policies.priced import SPACES, moments, priced

BITS = Choice("bits", (2, 3, 4), per_layer=True)
SPACE = Space((BITS,), 32)
STEPS = 600


def mean_bits(policy, steps=STEPS):
    """Mean bit width of what each step trains."""
    subnets = priced(SPACE)
    drawn = [policy.draw(subnets, m).genotypes[0] for m in moments(steps)]
    return SPACE.values(np.concatenate(drawn), "bits").mean(1)


def fifths(means):
    """Shares of means in each fifth of the range of 2 to 4 bits."""
    return np.histogram(means, 5, (2, 4))[0] / len(means)


def test_means_cover_the_range_evenly_where_uniform_genes_stay_at_its_middle():
    assert np.allclose(fifths(mean_bits(MeanBudget())), 0.2, atol=0.03)
    naive = mean_bits(Uniform())
    # Everything lies within four deviations of 0.144 bits around 3.
    assert np.abs(naive - 3).max() < 4 * np.sqrt(2 / 3 / 32)
    assert fifths(naive)[2] > 0.75


def test_the_mean_falls_and_rises_in_every_period():
    means = mean_bits(MeanBudget(period=200))
    step = np.arange(STEPS)
    expected = 2 + 2 * np.abs(2 * (step % 200) / 200 - 1)
    # A mean of 32 genes, each of a deviation of at most 0.71 bits, in 600 draws.
    assert np.abs(means - expected).max() < 5 * np.sqrt(1 / 2 / 32)
    assert np.abs(means - expected).mean() < 0.12
    assert means[[0, 200, 400]].tolist() == [4, 4, 4]
    assert means[[100, 300, 500]].tolist() == [2, 2, 2]


def test_without_a_period_it_is_the_phase():
    tilts = [MeanBudget().tilt(Moment(0, step, 8)) for step in range(8)]
    assert tilts == [1, 0.75, 0.5, 0.25, 0, 0.25, 0.5, 0.75]
    assert MeanBudget(period=4).tilt(Moment(0, 7, 8)) == 0.5


def test_every_axis_has_the_mean():
    space, policy = SPACES["flat"], MeanBudget(subnets=500, period=8)
    drawn = policy.draw(priced(space), Moment(0, 1, 8)).genotypes[:, 0]
    assert np.allclose(drawn.mean(0), 0.75 * 2, atol=0.12)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"subnets": 0}, "subnets must be at least 1, got 0"),
        ({"period": 1}, "period must be at least 2 steps, got 1"),
    ],
)
def test_values_out_of_range_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        MeanBudget(**values)
