"""What is particular to each algorithm that learns from what it is told."""

import numpy as np
import pytest

from search.algorithm import State
from search.constrained_genetic import ConstrainedGenetic
from search.exhaustive import Exhaustive
from search.local_search import LocalSearch
from search.nsga2 import Nsga2
from search.population import tournament
from search.problem import Problem
from search.regularized_evolution import RegularizedEvolution
from search.space import Choice, Space
from tests.search.toy import Toy


def told(algorithm, toy, generations, seed=0):
    """Returns the states of a search, the first one before it is told anything."""
    states = [algorithm.init(toy.problem, seed)]
    for _ in range(generations):
        asked = algorithm.ask(toy.problem, states[-1])
        outcome = toy.outcome(asked)
        states.append(algorithm.tell(toy.problem, states[-1], asked, *outcome))
    return states


def rows(genotypes):
    return [tuple(row.tolist()) for row in genotypes]


def single(space, cost):
    """Returns a toy of one objective that is known without an evaluation."""
    toy = Toy()

    def cheap(genotypes):
        return {"cost": cost(genotypes).astype(float)}

    toy.problem = Problem(space, ("cost",), (), cheap)
    return toy


def changed(child, parents):
    """Returns in how many genes a child differs from the nearest of its parents."""
    return (parents != child).sum(1).min()


def test_regularized_evolution_fills_its_population_then_kills_the_oldest():
    toy = Toy()
    algorithm = RegularizedEvolution(population=12, tournament=3, batch=5)
    states = told(algorithm, toy, 6)
    assert [len(state.genotypes) for state in states] == [0, 5, 10, 12, 12, 12, 12]
    for state in states:
        assert rows(state.genotypes) == rows(state.told[-12:])


def test_regularized_evolution_forgets_even_the_best():
    toy = Toy()
    algorithm = RegularizedEvolution(population=8, tournament=2, batch=4)
    states = told(algorithm, toy, 8)
    seen = [toy.error(state.genotypes).min() for state in states[1:]]
    assert seen != sorted(seen, reverse=True)


def test_infeasible_members_die_before_older_feasible_ones():
    toy = Toy()
    algorithm = RegularizedEvolution(population=4, tournament=2, batch=4)
    (_, state) = told(algorithm, toy, 1)
    asked = algorithm.ask(toy.problem, state)
    objectives, violations = toy.outcome(asked)
    violations[:3], objectives[:3] = 1.0, np.inf
    after = algorithm.tell(toy.problem, state, asked, objectives, violations)
    assert rows(after.genotypes) == [*rows(state.genotypes[1:]), *rows(asked[3:])]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_larger_tournaments_are_won_by_better_members(size):
    rng = np.random.default_rng(0)
    ranks = np.arange(10)
    winners = tournament(ranks, np.zeros(10), size, 4000, rng)
    # The least of so many draws from 0..9.
    expected = sum((k / 10) ** size for k in range(1, 10))
    assert winners.mean() == pytest.approx(expected, abs=0.15)


def test_ties_of_rank_are_won_by_the_less_crowded():
    rng = np.random.default_rng(0)
    crowding = np.asarray([0.0, np.inf, 1.0])
    winners = tournament(np.zeros(3, int), crowding, 3, 3000, rng)
    shares = np.bincount(winners, minlength=3) / 3000
    assert shares == pytest.approx([1 / 27, 19 / 27, 7 / 27], abs=0.03)


def test_constrained_genetic_breeds_the_best_of_all_generations():
    space = Space((Choice("size", (1, 2, 3, 4), per_layer=True),), 12)
    toy = single(space, lambda g: (g * np.arange(1, 13)).sum(1))
    algorithm = ConstrainedGenetic(
        population=12, parents=0.25, mutation_probability=0.0
    )
    state = algorithm.init(toy.problem, 0)
    for generation in range(6):
        asked = algorithm.ask(toy.problem, state)
        costs = toy.problem.cheap(state.told)["cost"] if generation else np.zeros(0)
        parents = state.told[np.argsort(costs, kind="stable")[:3]]
        if generation:
            assert [changed(mutant, parents) for mutant in asked[:6]] == [1] * 6
        if generation == 1:
            # Later parents are alike: random members replace crossovers that are known.
            for child in asked[6:]:
                assert (child == parents).any(0).all()
        cost = toy.problem.objectives_of(toy.problem.cheap(asked))
        state = algorithm.tell(toy.problem, state, asked, cost, np.zeros(len(asked)))


def test_constrained_genetic_keeps_the_front_that_it_does_not_search_for():
    toy = Toy(layers=3, limit=15.0)
    algorithm = ConstrainedGenetic(population=16)
    state = told(algorithm, toy, 12)[-1]
    assert toy.front() <= set(rows(state.genotypes))


def test_local_search_asks_for_neighbours_of_its_front():
    toy = Toy()
    algorithm = LocalSearch(batch=6)
    before, after = told(algorithm, toy, 3)[-2:]
    around = {n for g in before.genotypes for n in rows(toy.space.neighbours(g))}
    assert set(rows(after.told[len(before.told) :])) <= around
    assert len(before.told) == 12


def test_local_search_starts_again_from_a_local_optimum():
    space = Space((Choice("size", (1, 2, 3, 4, 5), per_layer=True),), 3)
    toy = single(space, lambda g: trap(space, g))
    algorithm = LocalSearch(batch=4)
    state = algorithm.init(toy.problem, 1)
    best = []
    while len(asked := algorithm.ask(toy.problem, state)):
        costs = trap(space, asked)[:, None]
        state = algorithm.tell(toy.problem, state, asked, costs, np.zeros(len(asked)))
        best.append(state.objectives.min())
    assert len(state.told) == 125
    # A new climb begins worse than the last one ended.
    assert (np.diff(best) > 0).any()
    assert trap(space, state.told).min() == 0.0


def trap(space, genotypes):
    """A valley at the smallest sizes, and a deeper one at the largest."""
    total = space.values(genotypes, "size").sum(1).astype(float)
    return np.where(total == 15, 0.0, total)


def test_exhaustive_search_stopped_early_has_seen_a_random_sample():
    toy = Toy(limit=1e3)
    means = [
        toy.error(told(Exhaustive(batch=30), toy, 1, seed)[-1].told).mean()
        for seed in range(12)
    ]
    everywhere = toy.error(toy.space.enumerate()).mean()
    assert np.mean(means) == pytest.approx(everywhere, rel=0.05)
    assert len(set(means)) == 12


def test_mutation_changes_as_many_genes_as_are_expected_to_be_drawn_anew():
    space = Space((Choice("size", (1, 2, 3, 4), per_layer=True),), 12)
    toy = single(space, lambda g: g.sum(1))
    parent = np.full((1, 12), 1, np.int32)
    state = State(0, 1, parent, np.zeros((1, 1)), np.zeros(1), parent)
    algorithm = Nsga2(population=400, mutation_probability=0.3)
    children = algorithm.ask(toy.problem, state)
    changes = (children != parent).sum(1)
    # Binomial of 12 genes at 0.3 x 3/4, without the unchanged ones, which were told.
    rate = 0.3 * 3 / 4
    assert changes.mean() == pytest.approx(12 * rate / (1 - (1 - rate) ** 12), rel=0.1)
