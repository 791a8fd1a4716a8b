"""Equidistant layers, and why the formula alone does not nest them."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.space import Depth


def formula(count, layers):
    """VARiant (arXiv 2511.16546): ``floor(i (D - 1) / (d - 1))``."""
    return {i * (layers - 1) // (count - 1) for i in range(count)}


def kept(depth, layers):
    """Layers that run at each depth, fewest first."""
    return [set(np.flatnonzero(row).tolist()) for row in depth.kept(layers)]


def test_the_formula_alone_does_not_nest():
    sets = {count: formula(count, 30) for count in (2, 4, 8, 16)}
    assert sets[16] == {0, *range(1, 30, 2)}
    assert sets[8] == {0, 4, 8, 12, 16, 20, 24, 29}
    assert sets[4] == {0, 9, 19, 29}
    assert sets[8] & sets[16] == {0, 29}
    assert sets[4] < sets[16]
    assert not sets[4] < sets[8]
    assert all(sets[2] < other for count, other in sets.items() if count > 2)


def test_the_formula_nests_where_gaps_divide_and_is_then_the_rule():
    counts = (2, 4, 10, 28)
    expected = [formula(count, 28) for count in counts]
    assert all(small < large for small, large in itertools.pairwise(expected))
    assert kept(Depth(counts, "spaced"), 28) == expected


def test_the_rule_nests_and_begins_with_the_formula():
    sets = kept(Depth((2, 4, 8, 16, 30), "spaced"), 30)
    assert all(small < large for small, large in itertools.pairwise(sets))
    assert sets[3] == formula(16, 30)


@given(st.integers(2, 48), st.data())
def test_spaced_sets_have_their_size_and_both_ends(layers, data):
    counts = data.draw(st.sets(st.integers(2, layers), min_size=1))
    depth = Depth(tuple(sorted(counts)), "spaced")
    for count, layers_kept in zip(depth.values, kept(depth, layers), strict=True):
        assert len(layers_kept) == count
        assert {0, layers - 1} <= layers_kept


@pytest.mark.parametrize("layers", [12, 24, 30, 48])
def test_spaced_sets_stay_about_equidistant_through_halvings(layers):
    counts = [layers]
    while counts[-1] > 3:
        counts.append(counts[-1] // 2)
    depth = Depth(tuple(sorted(counts)), "spaced")
    for count, layers_kept in zip(depth.values, kept(depth, layers), strict=True):
        gaps = np.diff(sorted(layers_kept))
        # Each of the nested sets may round a gap down and the next one up.
        assert gaps.max() <= 2 * (layers - 1) / (count - 1) + 1
        assert gaps.min() >= (layers - 1) / (count - 1) / 2 - 1
