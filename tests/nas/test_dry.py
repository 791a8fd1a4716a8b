"""Steps on shapes alone: the program that training runs, and what it would hold."""

import dataclasses

import jax
import pytest

from nas.config import load_recipe
from nas.dry import layout_of, lower_step, state_shapes
from nas.errors import UsageError
from nas.forecast import device_flops, forecast, step_memory
from supernets.decoder.spec import Decoder
from supernets.phases import Phase
from supernets.policies.largest_only import LargestOnly
from supernets.sharding.memory import memory_of
from supernets.sharding.spec import Parallel

QUICKSTART = load_recipe("experiments.quickstart")
MODEL = Decoder(width=(8, 16), heads=(1, 2), ffn=(16, 32), depth=(1, 2), head_dim=8)


def experiment_of(parallel, **changes):
    train = dataclasses.replace(
        QUICKSTART.train,
        steps=4,
        batch=8,
        phases=(Phase(policy=LargestOnly()),),
        parallel=parallel,
        **changes,
    )
    data = dataclasses.replace(QUICKSTART.data, tokens=16)
    return dataclasses.replace(QUICKSTART, model=MODEL, data=data, train=train)


@pytest.mark.slow
def test_a_step_is_lowered_for_devices_without_weights_or_data():
    one = experiment_of(Parallel(data=1))
    compiled = lower_step(one).compile()
    assert compiled.cost_analysis()["flops"] > 0
    four = experiment_of(Parallel(fsdp=4))
    state, layout = state_shapes(four), layout_of(four)
    assert memory_of(layout, state).per_device < memory_of(None, state).per_device / 3
    held = step_memory(four)
    assert 0 < held.arguments < step_memory(one).arguments / 3
    assert held.temporaries > 0


def test_axes_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match=r"train\.parallel: .*devices"):
        layout_of(experiment_of(Parallel(tensor=len(jax.devices()) + 1)))


def test_the_forecast_counts_three_passes_of_what_is_trained():
    experiment = experiment_of(Parallel())
    space, example = MODEL.space(), experiment.data.example
    costs = MODEL.costs(space.largest[None], batch=1, example=example)
    expected = forecast(experiment)
    assert expected.step_flops == pytest.approx(3 * costs["flops"][0] * 8)
    assert expected.examples == 4 * 8


def test_a_device_computes_something_in_a_second():
    assert device_flops("float32") > 1e6
