"""What curves are called, and that a progress line stays short."""

import doctest

import numpy as np
import pytest

from nas.training import roles
from nas.training.roles import RoleLosses, in_short, names_of
from search.space import Choice, Depth, Space
from supernets.policies.matformer import MatFormer
from supernets.policies.policy import Moment, Slot, Subnets, draw_of
from supernets.policies.sandwich import Sandwich
from supernets.policies.sorted import Sorted

SPACE = Space(
    choices=(Choice("width", (8, 16)), Choice("ffn", (16, 32, 64), per_layer=True)),
    layers=3,
    depth=Depth((1, 2, 3)),
)


def called(policy):
    subnets = Subnets(SPACE, lambda rows: 1.0 + rows.sum(1))
    draw = policy.draw(subnets, Moment(seed=0, step=0, steps=9))
    return names_of(SPACE, policy.slots(SPACE), draw)


def test_roles_of_a_sandwich_are_curves():
    assert called(Sandwich(random=2)) == ["largest", "smallest", "sampled", "sampled"]


def test_every_granularity_is_a_curve():
    policy = MatFormer(granularities="all", teacher="largest")
    assert called(policy) == ["largest", "ffn 32", "ffn 16"]


def test_every_depth_is_a_curve():
    policy = Sorted(submodels="all", teacher="largest")
    assert called(policy) == ["largest", "depth 2", "depth 1"]


@pytest.mark.parametrize(
    ("slot", "genotype", "name"),
    [
        (Slot(role="sampled"), SPACE.largest, "largest"),
        (Slot(role="sampled"), [2, 0, 2, 2, 2], "sampled"),
        (Slot(role="submodel"), [2, 0, 2, 2, 2], "width 8"),
        # Two axes, or one with several values, are no family.
        (Slot(role="submodel"), [1, 0, 2, 2, 0], "submodel"),
        (Slot(role="submodel"), [2, 1, 2, 1, 2], "submodel"),
        # Which of the candidates was trained is not known.
        (Slot(role="submodel", candidates=2), [2, 0, 2, 2, 2], "submodel"),
    ],
)
def test_a_subnet_is_called_by_what_sets_it_apart(slot, genotype, name):
    rows = np.asarray([genotype] * slot.candidates, np.int32)
    assert names_of(SPACE, [slot], draw_of(rows)) == [name]


def test_losses_are_means_over_steps_without_what_was_not_run():
    losses = RoleLosses()
    names = ["largest", "sampled", "sampled"]
    losses.add(names, np.asarray([2.0, 3.0, 5.0]))
    losses.add(names, np.asarray([4.0, np.nan, np.nan]))
    assert losses.take() == {"largest": 3.0, "sampled": 4.0}
    losses.add(["largest"], np.asarray([1.0]))
    assert losses.take() == {"largest": 1.0}
    assert losses.take() == {}


def test_a_progress_line_stays_short_however_many_roles_there_are():
    many = {f"ffn {64 * rung}": 4.0 - rung / 10 for rung in range(1, 30)}
    assert in_short(many) == "29 roles, ffn 1856 1.10 to ffn 64 3.90"
    assert in_short({}) == ""


def test_examples_in_the_docstrings_hold():
    assert doctest.testmod(roles).failed == 0
