"""Campaigns by gradient as a whole, however their descents ran."""

import itertools

import numpy as np
import pytest

from nas.gradient.descent import Descent, Round
from nas.gradient.ledger import Ledger
from search.archive import Record
from search.constraints import Bound
from search.pareto import hypervolume
from search.problem import Problem
from search.space import Choice, Space

SPACE = Space(layers=1, choices=(Choice("ffn", (1, 2, 3, 4)),))
REFERENCE = np.asarray([10.0, 10.0])
PROBLEM = Problem(
    space=SPACE,
    objectives=("loss", "params"),
    bounds=(Bound.parse("params <= 3"),),
    cheap=lambda genotypes: {"params": genotypes[:, 0] + 1.0},
)
LOSSES = (4.0, 3.0, 2.0, 1.0)


def record(gene):
    metrics = {"params": gene + 1.0, "loss": LOSSES[gene]}
    return Record(
        (gene,), SPACE.decode(np.asarray([gene])).to_json(), metrics, "", 0, 0.0
    )


def descent(number, campaign="GradientSearch"):
    return Descent(
        campaign=campaign, number=number, limits={}, seed=0, looks=3, seconds=None
    )


def rounds(*genes):
    return [
        Round(n, n, tuple(record(g) for g in row), 0.0) for n, row in enumerate(genes)
    ]


FIRST, SECOND = rounds([0], [1], [3]), rounds([1], [2])


def ledger_after(told):
    ledger = Ledger(PROBLEM, REFERENCE, [descent(0), descent(1)])
    return ledger, [ledger.note(descent(number), row) for number, row in told]


IN_TURN = [(0, row) for row in FIRST] + [(1, row) for row in SECOND]


def test_a_history_counts_subnets_once_and_the_front_within_bounds():
    ledger, _ = ledger_after(IN_TURN)
    history = ledger.history("GradientSearch")
    assert [row.evaluations for row in history] == [2, 3, 4]
    assert [row.generation for row in history] == [1, 2, 3]
    assert [row.budget for row in history] == [6] * 3
    # The subnet of four parameters is not within the bound.
    assert [row.best for row in history] == [
        {"loss": 3.0, "params": 1.0},
        {"loss": 2.0, "params": 1.0},
        {"loss": 2.0, "params": 1.0},
    ]
    front = np.asarray([[4.0, 1.0], [3.0, 2.0], [2.0, 3.0]])
    assert history[-1].hypervolume == hypervolume(front, REFERENCE)


def test_a_history_does_not_depend_on_the_order_of_the_descents():
    expected = ledger_after(IN_TURN)[0].history("GradientSearch")
    for order in itertools.permutations(IN_TURN):
        numbers = [(n, row.number) for n, row in order]
        if all(
            [k for n, k in numbers if n == number] == list(range(count))
            for number, count in ((0, 3), (1, 2))
        ):
            assert ledger_after(order)[0].history("GradientSearch") == expected


def test_what_a_lost_descent_tells_again_counts_once():
    again = [*IN_TURN[:2], *IN_TURN]
    ledger, told = ledger_after(again)
    assert ledger.history("GradientSearch") == ledger_after(IN_TURN)[0].history(
        "GradientSearch"
    )
    assert [row.generation for row in told] == [1, 2, 1, 2, 3, 4, 5]


def test_campaigns_of_several_seeds_are_apart():
    one, two = descent(0, "GradientSearch seed 1"), descent(0, "GradientSearch seed 2")
    ledger = Ledger(PROBLEM, REFERENCE, [one, two])
    ledger.note(one, FIRST[0])
    ledger.note(two, SECOND[0])
    assert ledger.budgets == {one.campaign: 3, two.campaign: 3}
    assert ledger.history(one.campaign)[0].best["params"] == 1.0
    assert ledger.history(two.campaign)[0].best["params"] == 2.0


def test_nothing_within_the_bounds_has_no_best_and_no_volume():
    ledger = Ledger(PROBLEM, REFERENCE, [descent(0)])
    progress = ledger.note(descent(0), Round(0, 1, (record(3),), 0.0))
    assert (progress.best, progress.hypervolume) == ({}, 0.0)
    assert pytest.approx(progress.evaluations) == 1
