"""Decisions: their shapes, their genes, and the subnet that they mean."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from search.space import Choice, Depth, Space
from supernets.gradient_search.decisions import (
    decision_shapes,
    gene_rows,
    initial_logits,
    most_probable,
    one_hot_rows,
)
from supernets.lowering import mixed_extents
from tests.kernels.comparison import assert_equal
from tests.supernets.toy import one_hot_probabilities, small_decoder, small_multi_task

RULES = ["prefix", "spaced", "free"]


@pytest.mark.parametrize("rule", RULES)
def test_logits_have_the_shapes_that_mixtures_take(rule):
    space = small_decoder(depth=(1, 3), depth_rule=rule).space()
    logits = initial_logits(space, key=jax.random.key(0))
    assert set(mixed_extents(space, logits)) == {"depth", "width", "heads", "ffn"}
    assert {n: row.shape for n, row in logits.items()} == decision_shapes(space)
    assert max(float(jnp.abs(row).max()) for row in logits.values()) < 0.01


@pytest.mark.parametrize("rule", RULES)
def test_rows_of_a_subnet_are_one_hot_and_mean_it(rule):
    space = small_decoder(depth=(1, 3), ffn=(1, 3, 6), depth_rule=rule).space()
    for genotype in space.sample(5, np.random.default_rng(0)):
        rows = gene_rows(space, one_hot_probabilities(space, genotype))
        assert_equal(rows, one_hot_rows(space, jnp.asarray(genotype)))
        assert_equal(most_probable(space, rows), genotype)


def test_rows_of_many_tasks_are_in_the_order_of_the_genes():
    space = small_multi_task().space()
    genotype = space.largest
    rows = gene_rows(space, one_hot_probabilities(space, genotype))
    assert_equal(most_probable(space, rows), genotype)


def test_free_layers_are_the_most_probable_of_an_allowed_number():
    space = small_decoder(depth=(2, 4), depth_rule="free").space()
    gates = np.random.default_rng(0).random((30, 4))
    for gate in gates:
        rows = np.zeros((space.genes, 2), np.float32)
        rows[:4] = np.stack([1 - gate, gate], axis=1)
        found = np.asarray(most_probable(space, jnp.asarray(rows)))[:4]
        legal = [on for on in itertools.product((0, 1), repeat=4) if sum(on) in (2, 4)]
        best = max(legal, key=lambda on: np.prod(np.where(on, gate, 1 - gate)))
        assert tuple(found) == best


def test_choices_that_are_no_sizes_cannot_be_mixed():
    space = Space((Choice("kind", ("a", "b")), Choice("width", (1, 2))))
    with pytest.raises(ValueError, match="'kind' is not a size"):
        decision_shapes(space)
    fixed = Space((Choice("kind", ("a",)), Choice("width", (1, 2))), depth=Depth((1,)))
    assert decision_shapes(fixed) == {"depth": (1,), "width": (2,)}
    rows = gene_rows(fixed, {"depth": jnp.ones(1), "width": jnp.asarray([0.2, 0.8])})
    assert most_probable(fixed, rows).tolist() == [0, 0, 1]
