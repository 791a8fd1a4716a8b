"""The feed: the same batches whoever makes them, from any step on, on any host."""

import json
import multiprocessing
import threading

import numpy as np
import pytest

from nas.data import Digits
from nas.data.feed import Feed, rows_of
from nas.data.reading import Reading
from nas.errors import RunError, UsageError
from tests.nas.data.stored import write_folder, write_tokens

SIZES = [4, 4, 4, 8, 8, 2, 2, 2]
DATA = Digits(shift=1)


def feed(data=DATA, sizes=SIZES, *, seed=3, part=(0, 1), **options):
    return Feed(
        data,
        # A method of a list of numbers is easily sent to a worker.
        sizes.__getitem__,
        seed=seed,
        steps=len(sizes),
        part=part,
        options=Reading(**options),
    )


def directly(data, step, seed=3):
    return data.batch(size=SIZES[step], seed=seed, step=step)


def assert_same(found, expected):
    np.testing.assert_array_equal(found.inputs, expected.inputs)
    np.testing.assert_array_equal(found.targets, expected.targets)


def assert_goes_on(batches, data, first):
    steps = []
    for step, examples in batches:
        assert_same(examples, directly(data, step))
        steps.append(step)
    assert steps == list(range(first, len(SIZES)))


@pytest.mark.parametrize(
    "options",
    [{}, {"ahead": 0}, {"threads": 1, "ahead": 20}, {"threads": 5, "ahead": 5}],
    ids=str,
)
def test_a_feed_gives_every_step_its_batch_in_order(options):
    batches = feed(**options)
    assert_goes_on(batches, DATA, 0)
    with pytest.raises(StopIteration):
        next(batches)


@pytest.mark.parametrize("options", [{"threads": 4, "ahead": 4}, {"ahead": 0}], ids=str)
def test_a_feed_restored_elsewhere_goes_on_as_it_would_have(options):
    first = feed()
    for _ in range(3):
        next(first)
    state = json.loads(json.dumps(first.state()))
    assert_goes_on(first, DATA, 3)
    second = feed(**options)
    second.restore(state)
    assert second.state() == state
    assert_goes_on(second, DATA, 3)


@pytest.mark.slow
def test_workers_change_nothing(tmp_path):
    data = write_folder(tmp_path)
    batches = feed(data, workers=2, threads=1, ahead=1)
    batches.skip_to(5)
    assert_goes_on(batches, data, 5)


def test_a_feed_skips_forwards_back_and_to_the_end():
    batches = feed()
    for step in (6, 1):
        batches.skip_to(step)
        assert next(batches)[0] == step
    batches.skip_to(len(SIZES))
    with pytest.raises(StopIteration):
        next(batches)
    batches.skip_to(0)
    assert next(batches)[0] == 0


def test_parts_of_all_hosts_are_the_whole_in_order():
    parts = [feed(part=(host, 2)) for host in range(2)]
    for step in range(len(SIZES)):
        found = [next(part)[1] for part in parts]
        whole = directly(DATA, step)
        both = [np.concatenate(arrays) for arrays in zip(*found, strict=True)]
        assert_same(type(whole)(*both), whole)


def test_another_seed_gives_another_order():
    first, second = feed(seed=3), feed(seed=4)
    assert (next(first)[1].inputs != next(second)[1].inputs).any()


def test_an_epoch_of_a_feed_has_every_window_once(tmp_path):
    data = write_tokens(tmp_path)
    batches = feed(data, [4] * 5)
    windows = np.concatenate([examples.inputs for _, examples in batches])
    # Fifteen windows of the first file and five of the second.
    assert len({window.tobytes() for window in windows}) == len(windows) == 20


@pytest.mark.parametrize(
    ("hosts", "message"),
    [
        (3, "a step of 4 examples cannot be shared evenly by 3 hosts; 3 or 6 could"),
        (8, "a step of 4 examples cannot be shared evenly by 8 hosts; 8 could"),
    ],
)
def test_a_size_that_hosts_do_not_divide_is_refused_at_once(hosts, message):
    with pytest.raises(ValueError, match=message):
        feed(part=(0, hosts))


def test_a_later_size_that_hosts_do_not_divide_is_refused_when_it_comes():
    batches = feed(sizes=[4, 4, 6], part=(1, 4))
    next(batches), next(batches)
    with pytest.raises(ValueError, match=r"6 examples .* 4 hosts; 4 or 8 could"):
        next(batches)


def test_rows_of_hosts_follow_each_other():
    assert [rows_of((host, 2), 8) for host in range(2)] == [slice(0, 4), slice(4, 8)]


@pytest.mark.parametrize("part", [(2, 2), (-1, 2), (0, 0)])
def test_a_part_that_is_none_is_refused(part):
    with pytest.raises(ValueError, match=r"part must be \(host, hosts\)"):
        feed(part=part)


@pytest.mark.parametrize("options", [{}, {"ahead": 0}, {"workers": 1}], ids=str)
def test_a_failure_while_reading_is_raised_as_what_it_was(options, tmp_path):
    data = write_folder(tmp_path)
    data.check()
    for path in (tmp_path / "train" / "cat").iterdir():
        path.write_bytes(b"no picture")
    batches = feed(data, **options)
    with pytest.raises(UsageError, match=r"image .*train/cat/\d+\.\w+ cannot be dec"):
        list(batches)
    # What comes after a failure is not another batch than the next.
    with pytest.raises(ValueError, match="this feed is closed; restore a state"):
        next(batches)


def test_a_dead_worker_is_told_of(tmp_path):
    batches = feed(write_folder(tmp_path), workers=1, ahead=1, threads=1)
    next(batches)
    (worker,) = multiprocessing.active_children()
    worker.kill()
    with pytest.raises(RunError, match=r"makes batches ended before step .* code -9"):
        list(batches)


def test_a_closed_feed_leaves_no_thread_and_can_be_restored():
    before = threading.active_count()
    batches = feed(threads=3, ahead=3)
    next(batches)
    running = [t for t in threading.enumerate() if "grain-prefetch" in t.name]
    batches.close()
    batches.close()
    for thread in running:
        thread.join(timeout=30)
    assert threading.active_count() <= before
    with pytest.raises(ValueError, match="closed"):
        next(batches)
    batches.restore({"step": 7})
    assert_goes_on(batches, DATA, 7)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, r"a feed's state is \{'step': number\}, got \{\}"),
        ({"step": 9}, r"step must lie in 0\.\.8, got 9"),
        ({"step": -1}, r"step must lie in 0\.\.8, got -1"),
    ],
)
def test_a_state_that_is_none_is_refused(state, message):
    with pytest.raises(ValueError, match=message):
        feed().restore(state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"ahead": -1}, "ahead must be at least 0, got -1"),
        ({"workers": -1}, "workers must be at least 0, got -1"),
    ],
)
def test_reading_refuses_numbers_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        Reading(**options)
