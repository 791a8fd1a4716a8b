"""Single-path training."""

import numpy as np
import pytest

from supernets.policies.policy import Slot
from supernets.policies.uniform import Uniform
from tests.supernets.policies.priced import SPACES, moments, priced

SPACE = SPACES["prefix"]


def test_slots_are_as_many_as_asked_for():
    slot = Slot(role="sampled", teacher="frozen")
    assert Uniform(subnets=3, teacher="frozen").slots(SPACE) == (slot,) * 3


def test_depth_and_every_gene_are_uniform():
    subnets, policy = priced(SPACE), Uniform(subnets=4)
    drawn = [policy.draw(subnets, moment).genotypes[:, 0] for moment in moments(500)]
    genes = np.concatenate(drawn)
    # Depth, width, and the layers that always run.
    for column in genes[:, :4].T:
        assert np.allclose(np.bincount(column) / len(genes), 1 / 3, atol=0.04)


def test_a_step_needs_a_subnet():
    with pytest.raises(ValueError, match="subnets must be at least 1, got 0"):
        Uniform(subnets=0)
