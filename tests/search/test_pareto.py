"""Pareto laws, checked against slow and against other people's implementations."""

import itertools

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymoo.indicators.hv import HV
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from search.pareto import (
    crowding_distance,
    hypervolume,
    non_dominated,
    non_dominated_ranks,
)
from tests.search.strategies import points

any_points = st.integers(1, 4).flatmap(points)


def dominates(a, b):
    return (a <= b).all() and (a < b).any()


def beats(objectives, violations, i, j):
    """Definition 1 of Deb et al. 2002, word for word."""
    if violations[i] == 0 and violations[j] > 0:
        return True
    if violations[i] > 0 and violations[j] > 0:
        return violations[i] < violations[j]
    both = violations[i] == 0 and violations[j] == 0
    return both and dominates(objectives[i], objectives[j])


def peeled(objectives, violations):
    ranks = {}
    while left := set(range(len(objectives))) - set(ranks):
        front = [
            j
            for j in left
            if not any(beats(objectives, violations, i, j) for i in left)
        ]
        ranks |= dict.fromkeys(front, max(ranks.values(), default=-1) + 1)
    return [ranks[i] for i in range(len(objectives))]


@given(any_points)
def test_a_point_is_kept_unless_another_dominates_it(objectives):
    expected = [not any(dominates(a, b) for a in objectives) for b in objectives]
    assert non_dominated(objectives).tolist() == expected


@given(any_points, st.data())
def test_ranks_are_the_fronts_peeled_off_one_by_one(objectives, data):
    some = st.sampled_from([0.0, 0.0, 0.5, 1.0])
    violations = np.asarray([data.draw(some) for _ in objectives], float)
    ranks = non_dominated_ranks(objectives, violations)
    assert ranks.tolist() == peeled(objectives, violations)
    if (violations > 0).any() and (violations == 0).any():
        assert ranks[violations > 0].min() > ranks[violations == 0].max()


@given(any_points)
def test_ranks_agree_with_pymoo(objectives):
    ranks = non_dominated_ranks(objectives, np.zeros(len(objectives)))
    fronts = NonDominatedSorting().do(objectives) if len(objectives) else []
    for rank, front in enumerate(fronts):
        assert (ranks[front] == rank).all()
    assert (non_dominated(objectives) == (ranks == 0)).all()


def test_objectives_of_infeasible_points_are_ignored():
    objectives = np.asarray([[0.0, 0.0], [np.inf, np.inf], [5.0, 5.0]])
    ranks = non_dominated_ranks(objectives, np.asarray([2.0, 1.0, 0.0]))
    assert ranks.tolist() == [2, 1, 0]


@given(any_points, st.randoms(use_true_random=False))
def test_the_order_of_points_does_not_matter(objectives, random):
    order = list(range(len(objectives)))
    random.shuffle(order)
    shuffled = objectives[order]
    none = np.zeros(len(objectives))
    reference = np.full(objectives.shape[1], 5.0)
    assert (non_dominated(shuffled) == non_dominated(objectives)[order]).all()
    ranks = non_dominated_ranks(objectives, none)
    assert (non_dominated_ranks(shuffled, none) == ranks[order]).all()
    assert hypervolume(shuffled, reference) == hypervolume(objectives, reference)


@given(st.integers(1, 4).flatmap(lambda m: points(m, max_size=6)))
def test_domination_is_a_strict_partial_order(objectives):
    def beats_by_library(a, b):
        return non_dominated(np.stack([a, b])).tolist() == [True, False]

    for a in objectives:
        assert not beats_by_library(a, a)
    for a, b in itertools.permutations(objectives, 2):
        assert not (beats_by_library(a, b) and beats_by_library(b, a))
    for a, b, c in itertools.permutations(objectives, 3):
        if beats_by_library(a, b) and beats_by_library(b, c):
            assert beats_by_library(a, c)


@given(any_points)
def test_the_front_is_incomparable_in_itself_and_dominates_the_rest(objectives):
    kept = non_dominated(objectives)
    front, rest = objectives[kept], objectives[~kept]
    assert not any(dominates(a, b) for a in front for b in front)
    assert all(any(dominates(a, b) for a in front) for b in rest)
    assert len(front) or not len(objectives)
    assert non_dominated(front).all()


@given(
    st.integers(1, 4).flatmap(
        lambda m: hnp.arrays(
            float, st.tuples(st.integers(0, 7), st.just(m)), elements=st.floats(0, 1)
        )
    )
)
def test_hypervolume_is_that_of_inclusion_and_exclusion(objectives):
    reference = np.full(objectives.shape[1], 1.0)
    expected = 0.0
    for size in range(1, len(objectives) + 1):
        for some in itertools.combinations(objectives, size):
            shared = np.prod(reference - np.max(some, axis=0))
            expected += (-1) ** (size + 1) * float(shared)
    assert hypervolume(objectives, reference) == pytest.approx(expected, abs=1e-12)


@given(any_points, st.floats(0.1, 10.0), st.floats(-5.0, 5.0))
def test_hypervolume_scales_and_moves_with_the_axes(objectives, scale, shift):
    reference = np.full(objectives.shape[1], 5.0)
    expected = hypervolume(objectives, reference) * scale ** objectives.shape[1]
    moved = hypervolume(objectives * scale + shift, reference * scale + shift)
    assert moved == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(any_points)
def test_only_the_front_has_volume(objectives):
    reference = np.full(objectives.shape[1], 5.0)
    front = objectives[non_dominated(objectives)]
    assert hypervolume(front, reference) == hypervolume(objectives, reference)


@given(any_points)
def test_hypervolume_counts_the_unit_cells_that_are_dominated(objectives):
    count = objectives.shape[1]
    cells = itertools.product(range(5), repeat=count)
    expected = sum(any((p <= cell).all() for p in objectives) for cell in cells)
    assert hypervolume(objectives, np.full(count, 5.0)) == expected


@pytest.mark.parametrize("objectives", [1, 2, 3, 4, 5])
def test_hypervolume_agrees_with_pymoo(objectives):
    rng = np.random.default_rng(objectives)
    front = rng.random((25, objectives))
    reference = np.full(objectives, 0.9)
    expected = float(HV(ref_point=reference)(front))
    assert hypervolume(front, reference) == pytest.approx(expected, rel=1e-12)


@given(st.integers(1, 4).flatmap(lambda m: st.tuples(points(m), points(m))))
def test_more_points_never_dominate_less(pair):
    first, second = pair
    reference = np.full(first.shape[1], 4.0)
    alone = hypervolume(first, reference)
    together = hypervolume(np.concatenate([first, second]), reference)
    assert together >= max(alone, hypervolume(second, reference))
    assert together <= alone + hypervolume(second, reference)


def test_points_beyond_the_reference_contribute_nothing():
    reference = np.asarray([1.0, 1.0])
    outside = np.asarray([[0.0, 1.0], [2.0, 0.0], [np.inf, np.inf]])
    assert hypervolume(outside, reference) == 0.0
    inside = np.concatenate([outside, [[0.5, 0.5]]])
    assert hypervolume(inside, reference) == 0.25


def test_crowding_is_the_normalised_gap_between_neighbours():
    front = np.asarray([[0.0, 10.0], [1.0, 5.0], [2.0, 4.0], [4.0, 0.0]])
    expected = [np.inf, 2 / 4 + 6 / 10, 3 / 4 + 5 / 10, np.inf]
    assert crowding_distance(front) == pytest.approx(expected)
    assert crowding_distance(front[::-1]) == pytest.approx(expected[::-1])


def test_an_objective_in_which_all_agree_does_not_crowd():
    front = np.asarray([[0.0, 7.0], [1.0, 7.0], [3.0, 7.0]])
    assert crowding_distance(front).tolist() == [np.inf, 1.0, np.inf]
    assert crowding_distance(np.ones((4, 2))).tolist() == [0.0] * 4
    assert crowding_distance(np.ones((2, 2))).tolist() == [np.inf] * 2
    assert crowding_distance(np.ones((0, 2))).tolist() == []


@pytest.mark.parametrize(
    "call",
    [
        lambda bad: non_dominated(bad),
        lambda bad: non_dominated_ranks(bad, np.zeros(1)),
        lambda bad: non_dominated_ranks(np.zeros((1, 2)), bad[0, :1]),
        lambda bad: hypervolume(bad, np.ones(2)),
        lambda bad: hypervolume(np.zeros((1, 2)), bad[0]),
        lambda bad: crowding_distance(bad),
    ],
)
def test_nan_is_refused(call):
    with pytest.raises(ValueError, match=r"NaN|finite"):
        call(np.full((1, 2), np.nan))
