"""Steps on four devices are those on one, whatever devices share."""

import functools
from typing import NamedTuple

import jax
import numpy as np
import pytest

from supernets.losses.loss import Batch
from supernets.optimizers.adamw import AdamW
from supernets.policies.policy import Moment, Subnets
from supernets.policies.sandwich import Sandwich
from supernets.policies.uniform import Uniform
from supernets.regularization import Regularization
from supernets.sharding.layout import Layout
from supernets.sharding.spec import Parallel
from supernets.training import initial_state
from tests.kernels.comparison import assert_close
from tests.supernets.steps import quick_step
from tests.supernets.toy import (
    random_batch,
    random_weights,
    small_decoder,
    small_vision,
    unweighted,
    with_weights,
)

pytestmark = pytest.mark.slow

STEPS, EXAMPLES, DECAY = 3, 4, 0.9
OPTIMIZER = AdamW(weight_decay=0.1).transform(STEPS)

SHARED = {"heads": (4, 8), "ffn": (4, 8)}
"""Sizes that two devices can share, with two heads in a group."""

DECODER = small_decoder(**SHARED, group=2, head_dim=2)
VISION = small_vision(heads=(0, 2), ffn=(0, 2, 6), width=(8,))
NOISE = Regularization(dropout=0.2, drop_path=0.2)


class Case(NamedTuple):
    """What a step trains, and how."""

    spec: object
    policy: object
    options: dict
    is_taught_by_frozen: bool = False

    @property
    def slots(self):
        return self.policy.slots(self.spec.space())


CASES = {
    "masked decoder": Case(
        DECODER, Sandwich(random=1), {"execution": "masked", "regularization": NOISE}
    ),
    "switched decoder": Case(
        DECODER,
        Sandwich(random=2, teacher="frozen"),
        {"execution": "switched"},
        is_taught_by_frozen=True,
    ),
    # No subnet of all steps has all weights, so that what is idle stands still.
    "switched vision": Case(
        VISION,
        Uniform(subnets=2),
        {"execution": "switched", "examples": "own", "accumulate": 2},
    ),
}


@functools.cache
def layout_of(case, **axes):
    return Layout.of(Parallel(**axes), unweighted(CASES[case].spec))


@functools.cache
def step_of(case, layout=None):
    spec, _, options, is_taught = CASES[case]
    frozen = start(spec, seed=7).params if is_taught else None
    return quick_step(
        spec,
        CASES[case].slots,
        OPTIMIZER,
        layout=layout,
        average=DECAY,
        frozen=frozen,
        **options,
    )


def start(spec, *, seed=0):
    weights = with_weights(spec, random_weights(spec, seed))
    return initial_state(weights, OPTIMIZER, averaged=True)


def batch_of(case, number):
    spec, _, options, _ = CASES[case]
    passes = len(CASES[case].slots) if "examples" in options else 1
    count = EXAMPLES * passes * options.get("accumulate", 1)
    parts = [random_batch(spec, 100 * number + i) for i in range(count)]
    return Batch(*(np.concatenate(part)[:count] for part in zip(*parts, strict=True)))


def train(case, state, layout=None, *, steps=range(STEPS)):
    """Trains on the devices of a layout; takes and returns a state of one device."""
    subnets = Subnets(CASES[case].spec.space(), lambda rows: rows.sum(1).astype(float))
    step = step_of(case, layout)
    state = state if layout is None else layout.place(state)
    for number in steps:
        batch = batch_of(case, number)
        batch = batch if layout is None else layout.batch(batch)
        draw = CASES[case].policy.draw(subnets, Moment(0, number, STEPS))
        state, metrics = step(state, batch, draw, number)
    if layout is not None:
        # Nothing moved: the next step is the same program, and memory is that planned.
        for leaf, place in zip(
            *map(jax.tree.leaves, (state, layout.shardings(state))), strict=True
        ):
            assert leaf.sharding.is_equivalent_to(place, leaf.ndim)
        state = layout.collect(state)
    return jax.device_get((state, metrics))


@functools.cache
def alone(case):
    return train(case, start(CASES[case].spec))


MESHES = {
    "data": {"data": 4},
    "fsdp": {"fsdp": 4},
    "data and tensor": {"data": 2, "tensor": 2},
    "fsdp and tensor": {"fsdp": 2, "tensor": 2},
}
OFTEN = {("masked decoder", "fsdp and tensor"), ("switched vision", "data")}


@pytest.mark.parametrize(
    ("case", "axes"),
    [
        pytest.param(
            case, axes, marks=() if (case, axes) in OFTEN else pytest.mark.long
        )
        for case in CASES
        for axes in MESHES
    ],
)
def test_steps_on_four_devices_are_those_on_one(case, axes):
    layout = layout_of(case, **MESHES[axes])
    assert_close(train(case, start(CASES[case].spec), layout), alone(case))


def test_training_goes_on_with_other_devices():
    case = "masked decoder"
    shared, spread = (
        layout_of(case, **MESHES[axes]) for axes in ("fsdp and tensor", "data")
    )
    state, _ = train(case, start(DECODER), shared, steps=(0,))
    state, _ = train(case, state, spread, steps=(1,))
    assert_close(train(case, state, steps=(2,)), alone(case))
