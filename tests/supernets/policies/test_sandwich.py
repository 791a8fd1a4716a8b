"""The sandwich rule."""

import numpy as np
import pytest

from search.space import Space
from supernets.policies.policy import Slot
from supernets.policies.sandwich import Sandwich
from tests.supernets.policies.priced import FFN, SPACES, moments, priced

SPACE = SPACES["prefix"]
DEEP = Space((FFN,), 12)


@pytest.mark.parametrize("random", [0, 1, 5])
def test_a_step_trains_both_ends_and_the_random_ones(random):
    sandwich = Sandwich(random=random, teacher="frozen")
    assert sandwich.slots(SPACE) == (
        Slot(role="largest", fixed=True),
        Slot(role="smallest", teacher="frozen"),
        *[Slot(role="sampled", teacher="frozen")] * random,
    )
    draw = sandwich.draw(priced(SPACE), moments(1)[0])
    assert draw.genotypes.shape == (2 + random, 1, SPACE.genes)
    assert (draw.genotypes[:2, 0] == [SPACE.largest, SPACE.smallest]).all()
    assert (draw.weights == 1).all()


def test_random_subnets_are_stratified_unless_they_are_to_be_uniform():
    subnets = priced(DEEP)
    low, high = subnets.cost_range

    def ends(policy):
        """Share of the random subnets in the outer fifths of the cost range."""
        drawn = [policy.draw(subnets, m).genotypes[2:, 0] for m in moments(200)]
        where = (subnets.cost(np.concatenate(drawn)) - low) / (high - low)
        return (np.abs(where - 0.5) > 0.3).mean()

    assert ends(Sandwich()) > 0.35
    assert ends(Sandwich(sampling="uniform")) < 0.05


def test_fewer_than_no_subnets_are_refused():
    with pytest.raises(ValueError, match="random must not be negative, got -1"):
        Sandwich(random=-1)
