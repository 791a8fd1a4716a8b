"""What an architecture learns from: nothing that subnets are evaluated on."""

import dataclasses

import numpy as np
import pytest

from nas import DigitPairs, Digits, StdlibText
from nas.gradient.examples import POOL, architecture_examples

TEXT = StdlibText(tokens=32)


def source(data, evaluated, size=8, trained=5):
    return architecture_examples(data, evaluated=evaluated, size=size, trained=trained)


def rows(inputs):
    return {row.tobytes() for row in inputs}


@pytest.mark.parametrize("data", [TEXT, Digits(), DigitPairs()])
def test_batches_are_of_the_search_split_but_of_no_evaluated_example(data):
    found = source(data, 20)
    assert len(found.pool.inputs) >= POOL
    every = rows(data.fixed("search", 20_000).inputs)
    judged = rows(data.fixed("search", 20).inputs)
    batches = [found(step, seed=3) for step in range(4)]
    for batch in batches:
        assert len(batch.inputs) == 8
        if data is not TEXT:
            assert rows(batch.inputs) <= every
        assert not rows(batch.inputs) & judged


def test_windows_share_no_quarter_with_those_that_are_evaluated():
    judged = TEXT.fixed("search", 20).inputs
    quarters = {
        row[start : start + 8].tobytes() for row in judged for start in (0, 8, 16, 24)
    }
    for window in source(TEXT, 20).pool.inputs:
        assert not any(quarter in window.tobytes() for quarter in quarters)


def test_batches_are_a_function_of_seed_and_step_and_go_through_the_pool():
    found = source(Digits(), 300, size=10)
    again = source(Digits(), 300, size=10)
    first = found(0, seed=1)
    np.testing.assert_array_equal(first.inputs, again(0, seed=1).inputs)
    assert (first.inputs != found(0, seed=2).inputs).any()
    count = len(found.pool.inputs)
    epoch = [found(step, seed=1) for step in range(count // 10)]
    seen = [row for batch in epoch for row in batch.inputs]
    # None comes twice before all others came once.
    assert len(rows(seen)) == len(rows(found.pool.inputs)) or len(seen) < count


def test_targets_of_several_tasks_go_with_their_inputs():
    data = DigitPairs()
    batch = source(data, 20)(0, seed=0)
    every = data.fixed("search", 20_000)
    places = [row.tobytes() for row in every.inputs]
    for task, labels in batch.targets.items():
        for row, label in zip(batch.inputs, labels, strict=True):
            assert every.targets[task][places.index(row.tobytes())] == label


def test_a_split_that_is_all_evaluated_on_leaves_training_examples_to_come():
    data = Digits()
    found = source(data, 359)
    assert found.pool is None
    expected = data.batch(size=8, seed=4, step=5 + 2)
    np.testing.assert_array_equal(found(2, seed=4).inputs, expected.inputs)
    assert dataclasses.replace(found, trained=0)(7, seed=4).inputs == pytest.approx(
        expected.inputs
    )
