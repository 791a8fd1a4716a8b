"""The throughput benchmark: what it measures is there, and adds up."""

import dataclasses

import pytest
from rich.console import Console

from experiments.benchmarks import throughput
from supernets.sharding.spec import Parallel


@pytest.mark.slow
def test_both_steps_are_measured_on_a_small_decoder():
    experiment = throughput.setting(small=True, batch=4)
    train = dataclasses.replace(experiment.train, parallel=Parallel(data=1))
    alone = dataclasses.replace(experiment, train=train)
    found = throughput.measure(alone, 0.5, Console(quiet=True))
    assert found["batch"] == [4, 32]
    steps = found["steps"]
    assert set(steps) == {"largest alone", "sandwich"}
    for figures in steps.values():
        assert figures["steps"] > 0
        assert figures["tokens_per_second"] > 0
        assert 0 < figures["utilisation"] < 1
    assert len(throughput.readme_rows(found)) == 2


def test_the_large_one_has_about_a_hundred_million_parameters():
    experiment = throughput.setting(small=False, batch=None)
    space = experiment.model.space()
    example = experiment.data.example
    costs = experiment.model.costs(space.largest[None], batch=1, example=example)
    assert 0.8e8 < costs["params"][0] < 1.4e8
