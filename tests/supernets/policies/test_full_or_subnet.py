"""The full network or a subnet."""

import numpy as np
import pytest

from search.space import Choice, Space
from supernets.policies.full_or_subnet import FullOrSubnet
from tests.supernets.policies.priced import SPACES, moments, priced

STEPS = 1200


def is_subnet(policy, space, steps=STEPS):
    """Whether each step of a phase trains a subnet."""
    subnets = priced(space)
    drawn = [policy.draw(subnets, m).genotypes[0, 0] for m in moments(steps)]
    return (np.stack(drawn) != space.largest).any(1)


@pytest.mark.parametrize(("start", "end"), [(0.2, 1.0), (0.9, 0.1), (0.3, 0.3)])
def test_subnets_come_at_the_probability_of_the_step(start, end):
    # Two members only: a draw that forgot to leave out the full one would show.
    space = Space((Choice("width", (1, 2)),))
    policy = FullOrSubnet(start=start, end=end, sampling="uniform")
    quarters = is_subnet(policy, space).reshape(4, -1).mean(1)
    middles = start + (end - start) * (np.arange(4) + 0.5) / 4
    # Four deviations of a share of 300 draws.
    assert np.allclose(quarters, middles, atol=4 * np.sqrt(0.25 / 300))


def test_the_probability_reaches_both_ends():
    policy = FullOrSubnet(start=0.0, end=1.0)
    assert [policy.probability(progress) for progress in (0.0, 0.5, 1.0)] == [0, 0.5, 1]


@pytest.mark.parametrize("sampling", ["stratified", "uniform"])
@pytest.mark.parametrize("name", SPACES)
def test_certainties_are_kept(sampling, name):
    space = SPACES[name]
    never = FullOrSubnet(start=0.0, end=0.0, sampling=sampling)
    always = FullOrSubnet(start=1.0, end=1.0, sampling=sampling)
    assert not is_subnet(never, space, 20).any()
    assert is_subnet(always, space, 20).all()


def test_steps_do_not_share_their_fate():
    policy = FullOrSubnet(start=0.5, end=0.5, sampling="uniform")
    fates = is_subnet(policy, SPACES["flat"], 800)
    assert (fates[1:] == fates[:-1]).mean() == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"start": -0.1}, r"start must lie in 0\.\.1, got -0.1"),
        ({"end": 1.1}, r"end must lie in 0\.\.1, got 1.1"),
        ({"end": float("nan")}, r"end must lie in 0\.\.1, got nan"),
    ],
)
def test_values_out_of_range_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        FullOrSubnet(**values)
