"""Mix'n'Match: which mixtures there are, and in which order they are asked."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings

from search.constraints import Bound
from search.mix_and_match import MixAndMatch, mixtures
from search.problem import Problem
from search.space import Choice, Depth, Space
from tests.search.strategies import build_space, space_specs

FFN = Choice("ffn", (64, 128, 256), per_layer=True)
HEADS = Choice("heads", (1, 2), per_layer=True)
WIDTH = Choice("width", (16, 32))


def asked(problem, seed=0, batch=4):
    """Returns all that is asked, in order."""
    algorithm = MixAndMatch(batch=batch)
    state = algorithm.init(problem, seed)
    while len(genotypes := algorithm.ask(problem, state)):
        objectives = np.zeros((len(genotypes), len(problem.objectives)))
        none = np.zeros(len(genotypes))
        state = algorithm.tell(problem, state, genotypes, objectives, none)
    return state.told


def cost_problem(space, limit=1e9):
    def cheap(genotypes):
        return {"params": genotypes.sum(1) + 1.0}

    return Problem(space, ("loss",), (Bound("params", limit),), cheap)


def test_layers_grow_one_at_a_time_and_the_last_first():
    space = Space((FFN,), 3)
    assert mixtures(space).tolist() == [
        [0, 0, 0],
        [0, 0, 1],
        [0, 1, 1],
        [1, 1, 1],
        [1, 1, 2],
        [1, 2, 2],
        [2, 2, 2],
    ]


@settings(max_examples=30)
@given(space_specs())
def test_mixtures_are_members_that_never_shrink_or_jump_with_depth(spec):
    space = build_space(spec)
    found = mixtures(space)
    assert space.valid(found).all()
    assert (space.canonical(found) == found).all()
    assert len(np.unique(found, axis=0)) == len(found)
    for row in found:
        running = space.active_layers(row[None])[0]
        for choice in space.choices:
            if choice.per_layer:
                sizes = row[space.slices[choice.name]][running]
                assert set(np.diff(sizes)) <= {0, 1}
                assert np.ptp(sizes) <= 1
    if not space.rules:
        ends = {tuple(space.smallest.tolist()), tuple(space.largest.tolist())}
        assert ends <= {tuple(row.tolist()) for row in found}


def test_every_depth_and_shared_value_has_its_own_line():
    space = Space((WIDTH, FFN), 4, Depth((2, 4), "spaced"))
    found = mixtures(space)
    # Two granularities above the first: twice as many steps as layers, and the start.
    assert len(found) == 2 * ((2 * 2 + 1) + (2 * 4 + 1))
    depths = space.active_layers(found).sum(1)
    assert (depths == 2).sum() == 2 * (2 * 2 + 1)


def test_sizes_of_a_layer_grow_together():
    space = Space((HEADS, FFN), 2)
    found = [space.decode(row) for row in mixtures(space)]
    assert [(a["heads"], a["ffn"]) for a in found] == [
        ((1, 1), (64, 64)),
        ((1, 2), (64, 128)),
        ((1, 2), (128, 128)),
        ((2, 2), (128, 256)),
        ((2, 2), (256, 256)),
    ]


def test_a_space_without_sizes_for_each_layer_has_all_its_settings():
    space = Space((WIDTH, Choice("groups", (1, 2, 4))), 3)
    assert len(mixtures(space)) == 6


def test_every_start_of_the_list_is_spread_over_the_costs():
    problem = cost_problem(Space((FFN,), 8))
    found = asked(problem)
    costs = problem.cheap(found)["params"]
    assert sorted(costs) == list(range(1, 18))
    for count in (4, 8):
        gaps = np.diff(sorted([*costs[:count], 18]))
        assert gaps.max() <= 2 * 16 / count


def test_the_seed_does_not_matter_and_bounds_do():
    problem = cost_problem(Space((FFN,), 8))
    assert (asked(problem, seed=1) == asked(problem, seed=2)).all()
    bound = cost_problem(problem.space, limit=5.0)
    costs = bound.cheap(asked(bound))["params"]
    assert sorted(costs) == [1, 2, 3, 4, 5]


def test_costs_are_those_of_the_first_objective_that_is_free():
    problem = cost_problem(Space((FFN,), 4))

    def cheap(genotypes):
        total = genotypes.sum(1) + 1.0
        return {"params": total, "latency_ms": 100.0 - total}

    problem = dataclasses.replace(problem, cheap=cheap)
    by_latency = dataclasses.replace(problem, objectives=("loss", "latency_ms"))
    first = [asked(p)[0].tolist() for p in (problem, by_latency)]
    assert first == [[0] * 4, [2] * 4]


def test_too_many_mixtures_are_refused_with_their_number():
    shared = tuple(Choice(f"c{i}", tuple(range(10))) for i in range(5))
    with pytest.raises(ValueError, match="500,000 mixtures, more than 100,000"):
        mixtures(Space((*shared, FFN), 2))
