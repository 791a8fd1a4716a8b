"""The largest, random ones and the smallest, each taught by the one before."""

import numpy as np
import pytest

from supernets.policies.chain import Chain
from supernets.policies.policy import Slot
from tests.supernets.policies.priced import SPACES, moments, priced

SPACE = SPACES["prefix"]


def test_everybody_learns_from_the_one_before():
    sampled = Slot(role="sampled", teacher="previous")
    assert Chain(random=2).slots(SPACE) == (
        Slot(role="largest", fixed=True),
        sampled,
        sampled,
        Slot(role="smallest", teacher="previous"),
    )


def test_the_random_ones_are_between_the_ends_and_drawn_anew():
    drawn = [Chain().draw(priced(SPACE), moment) for moment in moments(20)]
    middles = {tuple(draw.genotypes[1, 0].tolist()) for draw in drawn}
    assert len(middles) > 10
    for draw in drawn:
        assert np.array_equal(draw.genotypes[0, 0], SPACE.largest)
        assert np.array_equal(draw.genotypes[2, 0], SPACE.smallest)
        assert draw.weights.tolist() == [1, 1, 1]


def test_a_chain_without_a_link_is_refused():
    with pytest.raises(ValueError, match="random must be at least 1, got 0"):
        Chain(random=0)
