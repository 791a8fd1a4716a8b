"""Phases: what is open when, and which steps are full."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supernets.phases import Phase, Plan, starts
from supernets.policies.largest_only import LargestOnly
from supernets.policies.matformer import MatFormer
from supernets.policies.sandwich import Sandwich
from supernets.policies.sorted import Sorted
from supernets.policies.uniform import Uniform
from tests.supernets.policies.priced import RULE, SPACES, cost

SPACE = SPACES["prefix"]


def plan(*phases, space=SPACE, steps=60, seed=0):
    return Plan(phases, steps, space, cost(space), seed)


def genotypes(planned):
    """Every genotype of every step, one after another."""
    rows = [planned.step(step).draw.genotypes for step in range(planned.steps)]
    return np.concatenate(rows).reshape(-1, planned.whole.genes)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=6), st.integers(0, 200))
def test_every_phase_has_a_step_and_no_step_is_lost(shares, more):
    steps = len(shares) + more
    bounds = starts([Phase(share=share) for share in shares], steps)
    assert bounds[0] == 0
    assert bounds[-1] == steps
    assert (np.diff(bounds) >= 1).all()
    # Beside phases that only just got their step, each has its share of steps.
    exact = np.asarray(shares) / sum(shares) * steps
    assert (np.abs(np.diff(bounds) - exact) <= len(shares)).all()


def test_a_phase_of_next_to_no_share_between_two_others_has_a_step():
    phases = [Phase(share=share) for share in (1.0, 1e-3, 1.0)]
    assert starts(phases, 10) == (0, 5, 6, 10)
    assert starts(phases, 3) == (0, 1, 2, 3)
    assert starts([Phase(share=share) for share in (1.0, 2.0, 1.0)], 8) == (0, 2, 6, 8)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("elastic", [(), ("ffn",), ("width", "ffn"), None])
def test_closed_axes_are_at_their_largest_and_open_ones_vary(name, elastic):
    space = SPACES[name]
    planned = plan(Phase(elastic=elastic), space=space, steps=12)
    rows = genotypes(planned)
    assert space.valid(rows).all()
    assert (space.canonical(rows) == rows).all()
    architectures = [space.decode(row) for row in np.unique(rows, axis=0)]
    for axis, values in space.axes.items():
        found = set()
        for architecture in architectures:
            value = architecture[axis]
            found |= {*value} if isinstance(value, tuple) else {value}
        is_open = elastic is None or axis in elastic
        assert found == (set(values) if is_open else {values[-1]}), axis


@pytest.mark.parametrize("name", ["prefix", "spaced", "free"])
def test_depth_is_an_axis_like_others(name):
    space = SPACES[name]
    rows = genotypes(plan(Phase(elastic=("depth",)), space=space, steps=12))
    counts = space.active_layers(rows).sum(1)
    assert set(counts.tolist()) == {2, 3, 4}
    active = space.active_genes(rows)
    assert (np.where(active, rows, 2)[:, space.depth_genes :] == 2).all()


def test_costs_are_those_of_the_whole_space():
    asked = []

    def price(rows):
        asked.append(rows)
        return cost(SPACE)(rows)

    planned = Plan((Phase(elastic=("ffn",)),), 4, SPACE, price, 0)
    planned.step(0)
    for rows in asked:
        assert SPACE.valid(rows).all()
        assert (SPACE.values(rows, "width") == 64).all()


def test_steps_belong_to_the_phase_that_they_lie_in():
    phases = [Phase(share=share, policy=Sandwich(random=0)) for share in (1.0, 2.0)]
    planned = plan(*phases, Phase(policy=LargestOnly()), steps=8)
    assert planned.starts == (0, 2, 6, 8)
    assert [planned.step(step).phase for step in range(8)] == [0, 0, 1, 1, 1, 1, 2, 2]
    assert [len(planned.step(step).draw.weights) for step in (1, 2, 6)] == [2, 2, 1]
    for step in (-1, 8):
        with pytest.raises(ValueError, match=rf"step {step} is not one of 0\.\.7"):
            planned.step(step)


def test_policies_are_told_where_in_their_phase_a_step_is():
    # One after the other, from the first again in each phase.
    phases = [Phase(policy=Sorted()), Phase(policy=Sorted())]
    planned = plan(*phases, steps=10)
    layers = SPACE.active_layers(genotypes(planned)).sum(1)
    assert layers.tolist() == [4, 3, 2, 4, 3] * 2


@settings(max_examples=10)
@given(st.integers(0, 2**40), st.permutations(range(12)))
def test_a_resumed_plan_draws_what_the_first_would_have(seed, order):
    phases = [Phase(full=0.5), Phase(elastic=("ffn", "depth"), policy=Uniform())]
    first = plan(*phases, steps=12, seed=seed)
    drawn = [first.step(step) for step in range(12)]
    for step in order[:4]:
        again = plan(*phases, steps=12, seed=seed).step(step)
        assert again.phase == drawn[step].phase
        assert (again.draw.genotypes == drawn[step].draw.genotypes).all()
        assert (again.draw.weights == drawn[step].draw.weights).all()


def test_no_two_phases_or_seeds_draw_the_same():
    phase = Phase(policy=Uniform(subnets=4), full=0.5)
    drawn = set()
    for seed in (0, 1, 2**32, 2**32 + 1):
        planned = plan(phase, phase, phase, steps=12, seed=seed)
        for step in range(12):
            # What is drawn, not what is left of it in a full step.
            drawn.add(planned.step(step).draw.genotypes[1:].tobytes())
    assert len(drawn) == 4 * 12


@pytest.mark.parametrize("full", [0.0, 0.3, 1.0])
def test_full_steps_train_the_largest_alone(full):
    policy = Sandwich(sampling="uniform")
    planned = plan(Phase(full=full, policy=policy), steps=400)
    shares = []
    for step in range(planned.steps):
        draw = planned.step(step).draw
        alone = draw.weights.tolist() == [1, 0, 0, 0]
        assert alone or draw.weights.tolist() == [1, 1, 1, 1]
        assert (draw.genotypes[0] == SPACE.largest).all()
        shares.append(alone)
    # Four deviations of a share of 400.
    assert np.mean(shares) == pytest.approx(full, abs=4 * np.sqrt(full * 0.7 / 400))


def test_full_steps_do_not_change_what_the_others_draw():
    never, often = (plan(Phase(full=full), steps=30) for full in (0.0, 0.5))
    kept = 0
    for step in range(30):
        with_full, without = often.step(step).draw, never.step(step).draw
        if with_full.weights.all():
            kept += 1
            assert (with_full.genotypes == without.genotypes).all()
    assert 0 < kept < 30


def test_a_policy_that_has_no_slot_for_the_largest_trains_it_in_its_first():
    phase = Phase(policy=Uniform(subnets=2), full=1.0)
    first, second = phase.slots(SPACE)
    assert (first.optional, second.optional) == (False, True)
    draw = plan(phase).step(0).draw
    assert (draw.genotypes[0] == SPACE.largest).all()
    assert draw.weights.tolist() == [1, 0]


def test_slots_are_optional_only_where_steps_leave_them_out():
    plain, full = Phase().slots(SPACE), Phase(full=0.1).slots(SPACE)
    assert not any(slot.optional for slot in plain)
    assert [slot.optional for slot in full] == [False, True, True, True]
    assert [dataclasses.replace(slot, optional=False) for slot in full] == [*plain]


def test_a_policy_with_nothing_to_vary_is_refused():
    phase = Phase(policy=MatFormer(), elastic=("depth",))
    with pytest.raises(ValueError, match="'ffn' has the one value 128"):
        phase.slots(SPACE)


def test_names_that_are_no_axes_are_refused():
    phase = Phase(elastic=("ffn", "bits"))
    with pytest.raises(ValueError, match=r"no axis 'bits'.*'width', 'ffn', 'depth'"):
        phase.slots(SPACE)
    with pytest.raises(ValueError, match=r"no axis 'depth' to open"):
        Phase(elastic=("depth",)).space(SPACES["flat"])


def test_rules_hold_for_what_is_open():
    whole = dataclasses.replace(SPACES["flat"], rules=(RULE,))
    assert Phase(elastic=("ffn",)).space(whole).rules == (RULE,)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"share": 0.0}, "share must be positive, got 0.0"),
        ({"share": float("nan")}, "share must be positive, got nan"),
        ({"share": float("inf")}, "share must be positive, got inf"),
        ({"full": -0.1}, r"full must lie in 0\.\.1, got -0.1"),
        ({"full": 1.1}, r"full must lie in 0\.\.1, got 1.1"),
    ],
)
def test_phases_out_of_range_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Phase(**values)


def test_plans_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="at least one phase"):
        plan()
    with pytest.raises(ValueError, match="1 steps are too few for 2 phases"):
        plan(Phase(), Phase(), steps=1)
