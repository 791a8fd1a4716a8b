"""The sandwich rule."""

import numpy as np
import pytest

from supernets.sandwich import Sandwich
from tests.supernets.toy import small_decoder


def test_random_subnets_depend_on_the_seed_and_the_step_only():
    space, sandwich = small_decoder().space(), Sandwich(random=8)
    drawn = {
        (seed, step): sandwich.sample(space, seed=seed, step=step)
        for seed in range(3)
        for step in range(3)
    }
    np.random.default_rng(0).random(5)
    for (seed, step), genotypes in drawn.items():
        again = Sandwich(random=8).sample(space, seed=seed, step=step)
        assert (genotypes == again).all()
        assert space.valid(genotypes).all()
    assert len({genotypes.tobytes() for genotypes in drawn.values()}) == len(drawn)


@pytest.mark.parametrize("random", [0, 1, 5])
def test_a_step_trains_both_ends_and_the_random_ones(random):
    sandwich, space = Sandwich(random=random), small_decoder().space()
    assert sandwich.subnets == 2 + random
    assert sandwich.sample(space, seed=0, step=0).shape == (random, space.genes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"random": -1}, "random must not be negative, got -1"),
        ({"distillation": 1.5}, r"distillation must lie in 0\.\.1, got 1.5"),
        ({"distillation": -0.1}, r"distillation must lie in 0\.\.1, got -0.1"),
        ({"distillation": float("nan")}, r"distillation must lie in 0\.\.1, got nan"),
    ],
)
def test_values_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Sandwich(**changes)
