"""The soak: a training that is killed ends as one that is left alone."""

import argparse

import pytest
from rich.console import Console

from experiments.benchmarks import soak


@pytest.mark.long
def test_a_training_that_is_killed_ends_with_the_same_bits(tmp_path):
    options = argparse.Namespace(kills=4, steps=120, seed=0, devices=4)
    found = soak.soak(tmp_path, options, Console(quiet=True))
    assert found["same_weights"]
    assert found["same_log"]
    assert len(found["lives"]) == 4
    # Some of them trained before they were killed.
    assert max(life["step"] for life in found["lives"]) > 0
