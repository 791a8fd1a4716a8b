"""Decoding: the most probable subnet, repaired where it breaks a bound."""

import numpy as np
import pytest

from search.space import Choice, Rule, Space
from supernets.gradient_search.decoding import (
    Improbability,
    decode,
    relative_excess,
)
from tests.supernets.gradient_search.test_expected_cost import params, random_rows
from tests.supernets.toy import small_decoder

RULES = ["prefix", "spaced", "free"]


def bounded(spec, share):
    space, price = spec.space(), params(spec)
    limits = {"params": share * float(price(space.largest[None])[0])}
    return lambda g: relative_excess({"params": price}, limits, g)


@pytest.mark.parametrize("rule", RULES)
def test_without_a_bound_it_is_the_most_probable(rule):
    space = small_decoder(depth=(1, 2, 3), ffn=(1, 3, 5), depth_rule=rule).space()
    every = space.enumerate()
    for seed in range(10):
        rows = random_rows(space, seed)
        found = decode(space, rows, lambda g: np.zeros(len(g)))
        assert found is not None
        behind = Improbability(space, rows)
        assert behind(found[None])[0] == behind(every).min()
        assert tuple(found) in {tuple(row) for row in every.tolist()}


@pytest.mark.parametrize("rule", RULES)
def test_a_repaired_subnet_keeps_the_bound_and_is_about_as_probable_as_any(rule):
    spec = small_decoder(depth=(1, 2, 3), ffn=(1, 3, 5), depth_rule=rule)
    space = spec.space()
    every = space.enumerate()
    best = 0
    for seed in range(20):
        excess = bounded(spec, 0.3 + 0.03 * seed)
        rows = random_rows(space, seed)
        found = decode(space, rows, excess)
        assert found is not None
        assert excess(found[None])[0] == 0
        assert space.valid(found[None]).all()
        behind = Improbability(space, rows)
        least = behind(every[excess(every) == 0]).min()
        best += behind(found[None])[0] <= least + 1e-9
    assert best >= 14


def test_what_nothing_meets_is_not_found():
    spec = small_decoder()
    rows = random_rows(spec.space())
    assert decode(spec.space(), rows, bounded(spec, 0.01)) is None


def test_rules_of_the_space_are_kept():
    rule = Rule("a is not above b", lambda a: a["a"] <= a["b"])
    space = Space((Choice("a", (1, 2, 3)), Choice("b", (1, 2, 3))), rules=(rule,))
    rows = np.asarray([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1]])
    found = decode(space, rows, lambda g: np.zeros(len(g)))
    assert found is not None
    assert space.valid(found[None]).all()


def test_excess_adds_up_over_bounds_and_is_relative():
    prices = {"a": lambda g: g[:, 0] * 10.0, "b": lambda g: g[:, 1] * 1.0}
    limits = {"a": 10.0, "b": 2.0}
    genotypes = np.asarray([[1, 2], [2, 2], [2, 3], [0, 0]], np.int32)
    found = relative_excess(prices, limits, genotypes)
    np.testing.assert_allclose(found, [0.0, 1.0, 1.5, 0.0])
