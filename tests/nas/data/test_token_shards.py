"""Token files: windows that do not overlap or cross, in shuffled epochs."""

import numpy as np
import pytest

from nas.data import TokenShards
from tests.nas.data.stored import write_tokens


@pytest.fixture
def numbered(tmp_path):
    """Tokens that tell their place: files of 0..99, 100..140, and one short of them."""
    for split in ("train", "search", "test"):
        np.save(tmp_path / f"{split}-a.npy", np.arange(100, dtype=np.uint16))
        np.save(tmp_path / f"{split}-b.npy", np.arange(100, 141, dtype=np.int32))
        np.save(tmp_path / f"{split}-c.npy", np.arange(200, 209, dtype=np.uint8))
    return TokenShards(path=str(tmp_path), tokens=8, vocabulary=209)


def epoch(data, number, size=4, seed=0):
    """Returns the windows of an epoch: eleven, four and one of the files."""
    steps = range(number * 16 // size, (number + 1) * 16 // size)
    return [data.batch(size=size, seed=seed, step=step) for step in steps]


def test_windows_are_in_one_file_each_and_followed_by_the_next_token(numbered):
    for step in range(20):
        inputs, targets = numbered.batch(size=4, seed=0, step=step)
        assert inputs.shape == targets.shape == (4, 8)
        assert inputs.dtype == targets.dtype == np.int32
        # Within a file the tokens are consecutive.
        np.testing.assert_array_equal(targets - inputs, np.ones((4, 8)))


def test_an_epoch_has_no_token_twice_and_each_file_in_full_windows(numbered):
    for number in range(3):
        inputs = np.concatenate([s.inputs for s in epoch(numbered, number)]).ravel()
        assert len(set(inputs.tolist())) == len(inputs) == 16 * 8
        files = [(inputs < 100).sum(), (inputs >= 100).sum() - 8, 8]
        assert files == [11 * 8, 4 * 8, 8]


def test_every_epoch_has_another_order_and_another_phase(numbered):
    starts = []
    for number in range(8):
        windows = np.concatenate([s.inputs for s in epoch(numbered, number)])
        starts.append(windows[windows[:, 0] < 100, 0])
    assert len({tuple(order.tolist()) for order in starts}) == 8
    phases = {tuple((order % 8).tolist()) for order in starts}
    # All windows of a file have one phase, and most epochs another.
    assert all(len(set(phase)) == 1 for phase in phases)
    assert len(phases) >= 4


def test_in_time_every_token_is_seen(numbered):
    seen = {
        token
        for number in range(40)
        for step in epoch(numbered, number)
        for token in np.concatenate([step.inputs, step.targets[:, -1:]], 1).ravel()
    }
    assert seen == {*range(141), *range(200, 209)}


def test_another_seed_has_another_order(numbered):
    first, second = (epoch(numbered, 0, seed=seed)[0] for seed in (0, 1))
    assert (first.inputs != second.inputs).any()


def test_fixed_windows_do_not_overlap_and_are_spread_over_the_split(numbered):
    every = numbered.fixed("test", 999).inputs
    # Twelve, five and one fit.
    assert every.shape == (18, 8)
    assert len(set(every.ravel().tolist())) == every.size
    few = numbered.fixed("test", 3).inputs
    assert few[:, 0].tolist() == [0, 64, 200]


def test_a_file_may_be_larger_than_memory(tmp_path):
    data = write_tokens(tmp_path)
    # Sparse: it takes no room on the disk.
    shape, path = (10**11,), tmp_path / "train-0.npy"
    np.lib.format.open_memmap(path, "w+", np.uint16, shape)[-1] = 7
    data.check()
    inputs, _ = data.batch(size=4, seed=0, step=10**7)
    assert not inputs.any()
    assert len(data.digest()) == 16


@pytest.mark.parametrize("field", ["tokens", "vocabulary"])
def test_numbers_out_of_range_are_refused(field):
    values = {"path": "somewhere", "tokens": 8, "vocabulary": 10, field: 1}
    with pytest.raises(ValueError, match=f"{field} must be at least 2, got 1"):
        TokenShards(**values)
