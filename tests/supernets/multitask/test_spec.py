"""The multi-task spec: what it refuses, its space, its costs and latency terms."""

import dataclasses

import numpy as np
import pytest

from search.space import Choice, Depth
from supernets.multitask.spec import Task
from tests.supernets.toy import small_multi_task


def task(**changes):
    return Task(**{"name": "one", "classes": 3, "units": (2, 4), **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "no name"}, "task name 'no name' is not a Python identifier"),
        ({"classes": 0}, "task 'one' has 0 classes"),
        ({"units": (-1, 2)}, r"units of task 'one' must be positive, .* \(-1, 2\)"),
        ({"units": (0,)}, r"units of task 'one' must be positive, or 0 in some"),
        ({"units": ()}, "'one_units' has no values"),
        ({"units": (4, 2)}, "'one_units' is not sorted"),
    ],
)
def test_tasks_that_are_none_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        task(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ()}, "there are no tasks"),
        ({"tasks": (task(), task(classes=4))}, r"tasks share a name: \['one'\]"),
        ({"decoder_layers": 0}, "decoder_layers must be at least 1, got 0"),
        ({"patch": 3}, "patches of side 3 do not divide an image of 4 x 2"),
        ({"image": (0, 2, 2)}, r"must be positive, got \(0, 2, 2\) and 2"),
        ({"head_dim": 0}, "head_dim must be at least 1, got 0"),
        ({"width": (0, 4)}, r"width must be positive, got \(0, 4\)"),
        ({"ffn": ()}, "'ffn' has no values"),
    ],
)
def test_sizes_that_form_no_network_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        small_multi_task(**changes)


def test_the_space_is_that_of_the_encoder_and_a_choice_for_each_task():
    space = small_multi_task(depth=(1, 3), depth_rule="spaced").space()
    assert space.layers == 3
    assert space.depth == Depth((1, 3), "spaced")
    assert space.choices == (
        Choice("width", (4, 8)),
        Choice("heads", (1, 2), per_layer=True),
        Choice("ffn", (3, 6), per_layer=True),
        Choice("one_units", (2, 5)),
        Choice("two_units", (0, 3)),
    )


@pytest.mark.parametrize(
    ("example", "classes", "message"),
    [
        ((4, 2, 3), {"one": 3, "two": 5}, r"got inputs of shape \(4, 2, 3\); give it"),
        ((4, 2, 2), 3, r"have the classes \{'one': 3, 'two': 5\}, those .* data 3;"),
        ((4, 2, 2), {"one": 3}, r"those of the data \{'one': 3\}"),
        ((4, 2, 2), {"one": 3, "two": 4}, "they must be the same"),
        ((4, 2, 2), {"one": 3, "three": 5}, "they must be the same"),
    ],
)
def test_data_that_do_not_fit_are_refused(example, classes, message):
    with pytest.raises(ValueError, match=message):
        small_multi_task().check(example, classes)


def test_data_that_fit_are_taken():
    small_multi_task().check((4, 2, 2), {"two": 5, "one": 3})


def test_costs_are_of_images_of_the_spec_only():
    spec = small_multi_task()
    with pytest.raises(ValueError, match="reads images of height, width and channels"):
        spec.costs(spec.space().largest[None], batch=1, example=(8, 8, 2))


def test_units_of_a_decoder_cost_the_same_wherever_they_are():
    spec = small_multi_task(decoder_layers=2, norm="rms")
    both = dataclasses.replace(spec, tasks=(task(units=(0, 4)), task(name="two")))
    space = both.space()
    smallest = space.smallest
    rows = np.stack([smallest] * 3)
    rows[1, space.slices["one_units"]] = 1
    rows[2, space.slices["two_units"]] = 1
    costs = both.costs(rows, batch=3, example=(4, 2, 2))
    width, layers, patches = 4, 2, 2
    # From none to 4 units there is a norm too; from 2 to 4 it was there.
    units = 2 * width * np.asarray([4, 2]) * layers
    assert np.diff(costs["params"])[0] == units[0] + layers * width
    assert costs["params"][2] - costs["params"][0] == units[1]
    assert (costs["macs"][1:] - costs["macs"][0] == 3 * patches * units).all()


def test_terms_count_decoders_as_layers_without_attention():
    spec = small_multi_task(depth=(1,), heads=(2,), ffn=(6,), decoder_layers=2)
    space = spec.space()
    ffn, width = 6 + 2 * 5 + 2 * 3, 8
    assert spec.latency_terms(space.largest[None])[0].tolist() == [
        *(1, width, 1, 2 * width, 2, ffn * width, ffn),
        *(6 * width, 5),
    ]
    ffn, width = 6 + 2 * 2, 4
    assert spec.latency_terms(space.smallest[None])[0].tolist() == [
        *(1, width, 1, 2 * width, 2, ffn * width, ffn),
        *(4 * width, 3),
    ]
    # Where every half always runs their number tells nothing that is not known.
    whole = dataclasses.replace(spec, tasks=(task(),))
    assert whole.latency_terms(whole.space().largest[None]).shape == (1, 8)
