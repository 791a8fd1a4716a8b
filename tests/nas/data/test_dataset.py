"""Every data set: one shape, three splits, and the same for the same arguments."""

import dataclasses
import json
import math
from collections.abc import Mapping

import numpy as np
import pytest

from nas.config import decode, encode
from nas.data import Augmentation, Dataset, DigitPairs, Digits, DigitTasks, StdlibText
from nas.data.dataset import Examples, in_units, score_in_words, score_names
from nas.data.registry import DataSpec
from tests.nas.data.stored import write_all

EMBEDDED = [
    StdlibText(tokens=16),
    Digits(),
    Digits(shift=1),
    DigitTasks(),
    DigitPairs(),
]
STORED = ("ImageFolder", "ArrayRecords", "ImageArrays", "TokenShards")
SPLITS = ("train", "search", "test")


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """One data set of each kind that is read from files, by the name of its type."""
    written = write_all(tmp_path_factory.mktemp("stored"))
    return {type(data).__name__: data for data in written}


@pytest.fixture(params=[*EMBEDDED, *STORED], ids=str)
def data(request, stored):
    return stored.get(request.param, request.param)


def by_task(value):
    return value if isinstance(value, Mapping) else {"": value}


def assert_equal(first, second):
    np.testing.assert_array_equal(first.inputs, second.inputs)
    targets, others = by_task(first.targets), by_task(second.targets)
    assert targets.keys() == others.keys()
    for task, labels in targets.items():
        np.testing.assert_array_equal(labels, others[task])


def test_every_data_set_that_a_recipe_may_name_is_tested_here(stored):
    tested = [*EMBEDDED, *stored.values()]
    assert set(DataSpec.__args__) == {type(data) for data in tested}
    assert tuple(stored) == STORED


def test_examples_have_the_shapes_types_and_classes_that_are_told(data):
    assert isinstance(data, Dataset)
    data.check()
    assert data.title
    assert data.nats_per_unit > 0
    classes = by_task(data.classes)
    for examples in (
        data.batch(size=5, seed=0, step=3),
        *(data.fixed(split, 5) for split in SPLITS),
    ):
        assert examples.inputs.shape == (5, *data.example)
        assert examples.inputs.dtype == data.dtype
        targets = by_task(examples.targets)
        assert list(targets) == list(classes)
        for task, labels in targets.items():
            positions = data.example if len(data.example) == 1 else ()
            assert labels.shape == (5, *positions)
            assert labels.dtype == np.int32
            assert 0 <= labels.min() <= labels.max() < classes[task]


def test_a_step_depends_on_its_arguments_alone(data):
    first = data.batch(size=5, seed=1, step=2)
    # What was asked for in between does not matter.
    data.batch(size=3, seed=9, step=9)
    assert_equal(data.batch(size=5, seed=1, step=2), first)
    for seed, step in ((1, 3), (2, 2)):
        assert (data.batch(size=5, seed=seed, step=step).inputs != first.inputs).any()


def test_fixed_examples_are_always_the_same(data):
    assert_equal(data.fixed("test", 7), data.fixed("test", 7))
    assert (data.fixed("test", 7).inputs != data.fixed("search", 7).inputs).any()


def test_rows_of_a_step_are_those_of_the_whole(data):
    whole = data.batch(size=9, seed=3, step=2)
    for rows in (slice(0, 3), slice(3, 9), slice(8, 9), slice(None, None, 2)):
        part = data.batch(size=9, seed=3, step=2, rows=rows)
        targets = {
            task: labels[rows] for task, labels in by_task(whole.targets).items()
        }
        whole_rows = Examples(whole.inputs[rows], targets)
        assert_equal(part._replace(targets=by_task(part.targets)), whole_rows)


def test_more_than_there_are_gives_all_of_a_split_once(stored):
    for data in stored.values():
        every = data.fixed("search", 999)
        assert 1 < len(every.inputs) < 20
        assert len({example.tobytes() for example in every.inputs}) == len(every.inputs)


def test_a_configuration_survives_the_trip_through_json(data):
    assert decode(json.loads(json.dumps(encode(data)))) == data


def test_digests_of_files_tell_what_is_in_them_but_not_how_it_is_used(stored, tmp_path):
    digests = {name: data.digest() for name, data in stored.items()}
    assert len(set(digests.values())) == len(STORED)
    assert all(len(digest) == 16 for digest in digests.values())
    again = {type(data).__name__: data.digest() for data in write_all(tmp_path)}
    assert again == digests
    plain = dataclasses.replace(stored["ImageFolder"], augmentation=Augmentation())
    assert plain.digest() == digests["ImageFolder"]


def test_digests_tell_data_sets_apart_but_not_how_they_are_augmented():
    text, plain, shifted, tasks, pairs = (data.digest() for data in EMBEDDED)
    assert len({text, plain, tasks, pairs}) == 4
    assert plain == shifted
    assert all(len(digest) == 16 for digest in (text, plain, tasks, pairs))


def test_losses_are_told_in_the_unit_of_the_data():
    found = {"loss": np.asarray([math.log(4.0)]), "error": np.asarray([0.5])}
    bits = in_units(StdlibText(), found)
    np.testing.assert_allclose(bits["loss"], [2.0])
    np.testing.assert_array_equal(bits["error"], [0.5])
    found = {"loss_digit": np.asarray([1.5])}
    np.testing.assert_array_equal(in_units(DigitTasks(), found)["loss_digit"], [1.5])


def test_scores_are_named_by_task_and_said_in_words():
    assert score_names(DigitTasks().classes) == (
        *("loss", "error"),
        *("loss_digit", "error_digit", "loss_corner", "error_corner"),
    )
    assert score_in_words("error_corner") == "error of corner"
    assert score_names(10, attacked=True) == ("loss", "error", "adversarial_error")
    assert score_in_words("adversarial_error") == "adversarial error"
