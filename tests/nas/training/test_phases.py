"""Phases as people see them: what is open, since when, and who is trained."""

import numpy as np
import pytest

from nas.training.phases import (
    opened,
    phase_line,
    phase_marks,
    trained,
    trained_before,
)
from search.space import Choice, Depth, Space
from supernets.phases import Phase, Plan
from supernets.policies.largest_only import LargestOnly
from supernets.policies.sandwich import Sandwich

SPACE = Space(
    choices=(
        Choice("width", (8, 16)),
        Choice("heads", (1, 2), per_layer=True),
        Choice("ffn", (16, 32, 64), per_layer=True),
    ),
    layers=2,
    depth=Depth((1, 2)),
)
ALONE = Phase(policy=LargestOnly())
PHASES = (
    ALONE,
    Phase(elastic=("ffn",)),
    Phase(elastic=("ffn", "heads")),
    Phase(policy=Sandwich(random=1), share=2.0),
)


def plan_of(phases, steps=50):
    return Plan(
        phases=phases,
        steps=steps,
        whole=SPACE,
        cost=lambda rows: 1.0 + rows.sum(1),
        seed=0,
    )


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        (Phase(), "all open"),
        (Phase(elastic=("depth", "width", "heads", "ffn")), "all open"),
        (Phase(elastic=("ffn", "depth")), "depth, ffn open"),
        (Phase(elastic=()), "largest alone"),
        (Phase(full=1.0), "largest alone"),
        (ALONE, "largest alone"),
    ],
)
def test_what_is_open_is_said_in_words(phase, words):
    assert opened(phase, SPACE) == words


def test_a_phase_is_announced():
    plan = plan_of(PHASES)
    assert phase_line(plan, 2) == (
        "phase 3 of 4: heads, ffn open (Sandwich, steps 21 to 30)"
    )


def test_marks_say_what_changes():
    assert phase_marks(plan_of(PHASES)) == (
        (0, "LargestOnly: largest alone"),
        (10, "Sandwich: ffn open"),
        (20, "+ heads"),
        (30, "+ depth, width"),
    )


def test_marks_say_what_stays_open_where_something_closes():
    phases = Phase(elastic=("ffn", "heads")), Phase(elastic=("depth",)), ALONE
    texts = [text for _, text in phase_marks(plan_of(phases))]
    assert texts == [
        "Sandwich: heads, ffn open",
        "depth open",
        "LargestOnly: largest alone",
    ]


def test_sorting_is_told():
    plan = plan_of((Phase(elastic=("ffn",)), Phase(sort=("width", "heads"))))
    assert phase_line(plan, 1).endswith(
        "Sandwich, steps 26 to 50, width, heads sorted)"
    )
    assert phase_marks(plan)[1].text == "+ depth, width, heads, sorted"


def test_spaces_that_were_trained_before_are_those_with_subnets():
    plan = plan_of(PHASES)
    assert trained_before(plan, 0) == []
    # A phase of the largest alone trains no subnet, whatever it opens.
    assert trained_before(plan, 1) == []
    assert trained_before(plan, 3) == [phase.space(SPACE) for phase in PHASES[1:3]]


def test_one_phase_needs_no_mark():
    assert phase_marks(plan_of((Phase(),))) == ()


@pytest.mark.parametrize("phase", [*PHASES, Phase(elastic=("depth",)), Phase(full=1.0)])
def test_trained_are_the_members_of_the_open_space(phase):
    genotypes = SPACE.enumerate()
    open_ = phase.space(SPACE)
    if phase in (ALONE, Phase(full=1.0)):
        members = {SPACE.decode(SPACE.largest)}
    else:
        members = {open_.decode(genotype) for genotype in open_.enumerate()}
    expected = [SPACE.decode(genotype) in members for genotype in genotypes]
    np.testing.assert_array_equal(trained(phase, SPACE, genotypes), expected)
