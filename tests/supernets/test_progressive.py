"""The standard phases of progressive training."""

import numpy as np
import pytest
from hypothesis import given, settings

from search.space import Choice, Depth, Space
from supernets.losses.cross_entropy import CrossEntropy
from supernets.losses.losses import Losses
from supernets.phases import Plan
from supernets.policies.largest_only import LargestOnly
from supernets.policies.uniform import Uniform
from supernets.progressive import progressive
from tests.search.strategies import build_space, space_specs
from tests.supernets.policies.priced import SPACES, cost

WIDTH = Choice("width", (32, 64))
HEADS = Choice("heads", (1, 2), per_layer=True)
FFN = Choice("ffn", (64, 128), per_layer=True)
BITS = Choice("bits", (4, 8))
SPACE = Space((WIDTH, BITS, HEADS, FFN), 4, Depth((2, 4)))


def test_axes_open_one_after_another():
    phases = progressive(SPACE)
    order = ("ffn", "heads", "depth", "width", "bits")
    assert [phase.elastic for phase in phases] == [order[:k] for k in range(6)]
    assert phases[0].policy == LargestOnly()


def test_full_steps_get_fewer_and_the_last_phase_is_the_longest():
    phases = progressive(SPACE)
    shares = [phase.share for phase in phases]
    assert np.allclose(shares, [0.2, 0.1, 0.1, 0.1, 0.1, 0.4])
    full = [phase.full for phase in phases]
    assert np.allclose(full, [1.0, 0.5, 0.4, 0.3, 0.2, 0.1])


def test_all_phases_with_something_open_are_one_program():
    phases = progressive(SPACE)
    assert len({phase.slots(SPACE) for phase in phases[1:]}) == 1
    until_none = progressive(SPACE, full=(0.5, 0.0))
    assert len({phase.slots(SPACE) for phase in until_none[1:]}) == 2


def test_axes_with_one_value_do_not_open():
    space = SPACE.restrict(width=(64,), bits=(8,), depth=(4,))
    assert [phase.elastic for phase in progressive(space)] == [
        (),
        ("ffn",),
        ("ffn", "heads"),
    ]
    assert progressive(SPACES["flat"])[-1].elastic == ("ffn", "width")


def test_the_order_may_be_given_and_leave_axes_closed():
    phases = progressive(SPACE, order=("depth", "ffn"))
    assert [phase.elastic for phase in phases] == [(), ("depth",), ("depth", "ffn")]
    assert [phase.full for phase in phases] == [1.0, 0.5, 0.1]


def test_a_single_axis_takes_all_that_is_left():
    alone, opened = progressive(SPACE, order=("ffn",), largest=0.25)
    assert (alone.share, opened.share, opened.full) == (0.25, 0.75, 0.1)


def test_there_may_be_no_phase_of_the_largest_alone():
    phases = progressive(SPACE, largest=0.0, last=0.2)
    assert phases[0].elastic == ("ffn",)
    assert np.allclose([phase.share for phase in phases], 0.2)


def test_policy_and_losses_are_those_that_are_given():
    policy, losses = Uniform(), Losses(data=CrossEntropy(smoothing=0.1))
    phases = progressive(SPACE, policy=policy, losses=losses)
    assert {phase.policy for phase in phases[1:]} == {policy}
    assert {phase.losses for phase in phases} == {losses}


@settings(max_examples=15)
@given(space_specs())
def test_the_phases_of_any_space_can_be_trained(spec):
    space = build_space((*spec[:-1], False))
    if space.size.value == 1:
        with pytest.raises(ValueError, match="nothing to open"):
            progressive(space)
        return
    phases = progressive(space)
    assert sum(phase.share for phase in phases) == pytest.approx(1)
    assert phases[-1].space(space) == space
    plan = Plan(phases, 2 * len(phases), space, cost(space), 0)
    for step in range(plan.steps):
        drawn = plan.step(step).draw.genotypes[:, 0]
        assert space.valid(drawn).all()
    assert (plan.step(0).draw.genotypes == space.largest).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"order": ("ffn", "kernel")}, "no axis 'kernel' to open; there are"),
        ({"order": ("ffn", "ffn")}, "names an axis twice"),
        ({"order": ()}, "nothing to open"),
        ({"largest": 1.0}, "largest must lie in 0..1, below 1, got 1.0"),
        ({"largest": -0.1}, "largest must lie in 0..1, below 1, got -0.1"),
        ({"last": 0.8}, "last must lie between 0 and 0.8"),
        ({"last": 0.0}, "last must lie between 0 and 0.8"),
        ({"full": (0.5, 1.1)}, r"full must lie in 0\.\.1, got 1.1"),
    ],
)
def test_phases_that_cannot_be_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        progressive(SPACE, **values)
