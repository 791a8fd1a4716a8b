"""Granularities of one axis."""

import numpy as np
import pytest

from supernets.policies.matformer import MatFormer
from supernets.policies.policy import Slot
from tests.supernets.policies.priced import SPACES, moments, priced

SPACE = SPACES["prefix"]


def granularities(policy, moment):
    """The value that all layers have, for each slot; all else must be the largest."""
    found = []
    for row in policy.draw(priced(SPACE), moment).genotypes[:, 0]:
        architecture = SPACE.decode(row)
        assert architecture.layers == (0, 1, 2, 3)
        assert architecture["width"] == 64
        (value,) = set(architecture["ffn"])
        found.append(value)
    return found


def test_one_is_drawn_uniformly():
    policy = MatFormer()
    assert policy.slots(SPACE) == (Slot(role="granularity"),)
    drawn = [granularities(policy, moment) for moment in moments(600)]
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [64, 96, 128]
    assert np.allclose(counts / 600, 1 / 3, atol=0.07)


def test_all_are_trained_largest_first():
    policy = MatFormer(granularities="all", teacher="largest")
    other = Slot(role="granularity", teacher="largest")
    assert policy.slots(SPACE) == (Slot(role="largest", fixed=True), other, other)
    assert granularities(policy, moments(1)[0]) == [128, 96, 64]


def test_an_axis_that_is_closed_or_not_there_is_refused():
    with pytest.raises(ValueError, match="no axis 'heads' to vary"):
        MatFormer(axis="heads").slots(SPACE)
    with pytest.raises(ValueError, match="or open it in this phase"):
        MatFormer().slots(SPACE.restrict(ffn=(128,)))


@pytest.mark.parametrize("teacher", ["largest", "previous"])
def test_one_alone_has_nobody_to_learn_from(teacher):
    with pytest.raises(ValueError, match=f"no {teacher!r} to learn from"):
        MatFormer(teacher=teacher)


def test_granularities_may_count_differently():
    policy = MatFormer(granularities="all", shares=(0.1, 0.1, 1.0))
    weights = policy.draw(priced(SPACE), moments(1)[0]).weights
    assert np.allclose(weights, (0.1, 0.1, 1.0))
    with pytest.raises(ValueError, match="ffn has 3 granularities, and shares are"):
        MatFormer(granularities="all", shares=(1.0,)).slots(SPACE)
    with pytest.raises(ValueError, match="shares must be positive"):
        MatFormer(granularities="all", shares=(1.0, 0.0, 1.0))
    with pytest.raises(ValueError, match="or leave them out"):
        MatFormer(shares=(1.0,))
