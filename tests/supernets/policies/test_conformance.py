"""What holds for every policy; a new one joins a list with one line."""

import dataclasses
import json
import typing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supernets.policies.attentive import Attentive
from supernets.policies.chain import Chain
from supernets.policies.full_or_subnet import FullOrSubnet
from supernets.policies.largest_only import LargestOnly
from supernets.policies.matformer import MatFormer
from supernets.policies.mean_budget import MeanBudget
from supernets.policies.policy import Policy, Slot
from supernets.policies.registry import PolicySpec
from supernets.policies.sandwich import Sandwich
from supernets.policies.sorted import Sorted
from supernets.policies.uniform import Uniform
from tests.search.strategies import build_space, space_specs
from tests.supernets.policies.priced import SPACES, moments, priced

STEPS = 6

RANDOM = [
    Sandwich(),
    Sandwich(random=3, sampling="uniform", teacher="previous"),
    Attentive(),
    Attentive(random=1, candidates=5, keep="worst"),
    Uniform(),
    Uniform(subnets=3, teacher="frozen"),
    FullOrSubnet(),
    FullOrSubnet(start=1.0, end=0.0, sampling="uniform"),
    Chain(),
    Chain(random=2),
    MeanBudget(),
    MeanBudget(subnets=2, period=5),
    MatFormer(),
]
"""Those that leave something to chance."""

CERTAIN = [
    Sandwich(random=0),
    MatFormer(axis="width", granularities="all", teacher="largest"),
    Sorted(),
    Sorted(submodels="all", teacher="previous"),
    LargestOnly(),
]
"""Those that do not."""

POLICIES = RANDOM + CERTAIN

LADDERS = (MatFormer, Sorted)
"""Those that need an axis with something to vary."""


def combinations(policies):
    """Every policy in every space that it is for."""
    return [
        pytest.param(policy, space, id=f"{name}-{policy}")
        for policy in policies
        for name, space in SPACES.items()
        if space.depth or not isinstance(policy, Sorted)
    ]


ANYWHERE = [policy for policy in POLICIES if not isinstance(policy, LADDERS)]

everywhere = pytest.mark.parametrize(("policy", "space"), combinations(POLICIES))


def draws(policy, space, seed=0):
    subnets = priced(space)
    return [policy.draw(subnets, moment) for moment in moments(STEPS, seed=seed)]


def test_every_policy_that_a_recipe_may_name_is_here():
    assert {type(policy) for policy in POLICIES} == set(typing.get_args(PolicySpec))


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_a_policy_is_a_plain_value(policy):
    assert isinstance(policy, Policy)
    again = type(policy)(**json.loads(json.dumps(dataclasses.asdict(policy))))
    assert again == policy
    assert hash(again) == hash(policy)
    with pytest.raises(dataclasses.FrozenInstanceError):
        policy.teacher = "data"


@everywhere
def test_slots_are_the_same_for_every_step_and_have_their_teachers(policy, space):
    slots = policy.slots(space)
    assert slots
    assert policy.slots(space) == slots
    # Compiled programs are looked up by them.
    assert hash(policy.slots(space)) == hash(slots)
    for index, slot in enumerate(slots):
        there = {
            "data": True,
            "frozen": True,
            "previous": index > 0,
            "largest": index > 0 and slots[0].role == "largest" and slots[0].fixed,
        }
        assert there[slot.teacher], slot


def fits(space, slot: Slot, offered) -> bool:
    """Whether what is offered to a slot is right for it."""
    if not space.valid(offered).all():
        return False
    if any((space.encode(space.decode(row)) != row).any() for row in offered):
        return False
    return not slot.fixed or (offered == space.largest).all()


@everywhere
def test_draws_are_members_that_fit_their_slots(policy, space):
    slots = policy.slots(space)
    most = max(slot.candidates for slot in slots)
    for genotypes, weights in draws(policy, space):
        assert genotypes.shape == (len(slots), most, space.genes)
        assert genotypes.dtype == np.int32
        assert weights.shape == (len(slots),)
        assert weights.dtype == np.float32
        assert (weights >= 0).all()
        assert weights.sum() > 0
        for slot, offered, weight in zip(slots, genotypes, weights, strict=True):
            assert fits(space, slot, offered)
            assert weight > 0 or slot.optional
            # What fills up the array repeats what is offered.
            own = np.unique(offered[: slot.candidates], axis=0)
            assert (np.unique(offered, axis=0) == own).all()


@everywhere
def test_a_draw_depends_on_the_seed_and_the_step_alone(policy, space):
    first = draws(policy, space)
    np.random.default_rng(0).random(5)
    again = dataclasses.replace(policy)
    subnets = priced(dataclasses.replace(space))
    for index in reversed(range(STEPS)):
        repeated = again.draw(subnets, moments(STEPS)[index])
        assert (repeated.genotypes == first[index].genotypes).all()
        assert (repeated.weights == first[index].weights).all()


@pytest.mark.parametrize("policy", RANDOM, ids=str)
def test_steps_seeds_and_phases_draw_apart(policy):
    subnets = priced(SPACES["prefix"])

    def drawn(**where):
        every = [policy.draw(subnets, moment) for moment in moments(STEPS, **where)]
        return b"".join(draw.genotypes.tobytes() for draw in every)

    first = draws(policy, subnets.space)
    assert len({draw.genotypes.tobytes() for draw in first}) > 1
    assert len({drawn(), drawn(seed=1), drawn(phase=1), drawn(seed=1, phase=1)}) == 4


@pytest.mark.parametrize("policy", CERTAIN, ids=str)
def test_what_is_certain_does_not_depend_on_the_seed(policy):
    space = SPACES["prefix"]
    for one, other in zip(
        draws(policy, space), draws(policy, space, seed=1), strict=True
    ):
        assert (one.genotypes == other.genotypes).all()


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_where_nothing_is_open_it_trains_the_largest_or_says_so(policy):
    whole = SPACES["prefix"]
    space = whole.restrict(width=(64,), ffn=(128,), depth=(4,))
    if isinstance(policy, LADDERS):
        with pytest.raises(ValueError, match="nothing to vary"):
            policy.slots(space)
        return
    for draw in draws(policy, space):
        assert (draw.genotypes == space.largest).all()


@settings(max_examples=25)
@given(space_specs(), st.integers(0, 2**64), st.data())
def test_draws_are_members_of_any_space(spec, seed, data):
    space = build_space((*spec[:-1], False))
    policy = data.draw(st.sampled_from(ANYWHERE))
    draw = policy.draw(priced(space), moments(STEPS, seed=seed)[2])
    for slot, offered in zip(policy.slots(space), draw.genotypes, strict=True):
        assert fits(space, slot, offered)
