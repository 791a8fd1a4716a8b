"""Sub-models of falling depth."""

import pytest

from supernets.policies.policy import Slot
from supernets.policies.sorted import Sorted
from tests.supernets.policies.priced import SPACES, moments, priced

RULES = [name for name, space in SPACES.items() if space.depth]


def layers(policy, space, moment):
    """Layers of what fills each slot; all else must be the largest."""
    found = []
    for row in policy.draw(priced(space), moment).genotypes[:, 0]:
        architecture = space.decode(row)
        assert architecture["width"] == 64
        assert set(architecture["ffn"]) == {128}
        found.append(architecture.layers)
    return found


@pytest.mark.parametrize("name", RULES)
def test_all_depths_are_trained_deepest_first_each_within_the_last(name):
    space = SPACES[name]
    policy = Sorted(submodels="all", teacher="previous")
    other = Slot(role="submodel", teacher="previous")
    assert policy.slots(space) == (Slot(role="largest", fixed=True), other, other)
    deep, middle, shallow = layers(policy, space, moments(1)[0])
    assert [len(deep), len(middle), len(shallow)] == [4, 3, 2]
    assert {*deep} > {*middle} > {*shallow}


@pytest.mark.parametrize("name", RULES)
def test_one_depth_takes_its_turn(name):
    space, policy = SPACES[name], Sorted()
    assert policy.slots(space) == (Slot(role="submodel"),)
    turns = [len(*layers(policy, space, moment)) for moment in moments(7)]
    assert turns == [4, 3, 2, 4, 3, 2, 4]


def test_a_space_without_depths_is_refused():
    with pytest.raises(ValueError, match="no axis 'depth' to vary"):
        Sorted().slots(SPACES["flat"])


@pytest.mark.parametrize("teacher", ["largest", "previous"])
def test_one_alone_has_nobody_to_learn_from(teacher):
    with pytest.raises(ValueError, match=f"no {teacher!r} to learn from"):
        Sorted(teacher=teacher)
