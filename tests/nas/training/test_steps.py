"""Batch sizes of steps follow the phases."""

import pickle

from nas.training.steps import BatchSizes


def test_sizes_are_those_of_the_phase_and_can_be_sent_to_workers():
    sizes = pickle.loads(pickle.dumps(BatchSizes((0, 3, 5), (8, 24))))
    assert [sizes(step) for step in range(5)] == [8, 8, 8, 24, 24]
