"""The vision transformer's spec: what it refuses, its space and its costs."""

import numpy as np
import pytest

from search.space import Choice, Depth
from tests.supernets.toy import small_vision


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch": 3}, "patches of side 3 do not divide an image of 4 x 2"),
        ({"image": (4, 3, 1)}, "patches of side 2 do not divide an image of 4 x 3"),
        ({"image": (4, 0, 1)}, r"must be positive, got \(4, 0, 1\) and 2"),
        ({"patch": 0}, r"must be positive, got \(4, 2, 2\) and 0"),
        ({"classes": 0}, "classes must be positive, got 0"),
        ({"head_dim": 0}, "head_dim must be at least 1, got 0"),
        ({"width": (0, 4)}, r"width must be positive, got \(0, 4\)"),
        ({"heads": (0,)}, r"heads must be positive, or 0 in some .* got \(0,\)"),
        ({"ffn": (-1, 2)}, r"ffn must be positive, or 0 in some .* got \(-1, 2\)"),
        ({"depth": (0, 1)}, "depth must be at least 1, got 0"),
        ({"ffn": ()}, "'ffn' has no values"),
    ],
)
def test_sizes_that_form_no_network_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        small_vision(**changes)


def test_the_space_has_the_choices_and_as_many_layers_as_the_deepest():
    spec = small_vision(heads=(0, 2), depth=(1, 3), depth_rule="spaced")
    space = spec.space()
    assert space.layers == spec.layers == 3
    assert space.depth == Depth((1, 3), "spaced")
    assert space.choices == (
        Choice("width", (4, 8)),
        Choice("heads", (0, 2), per_layer=True),
        Choice("ffn", (3, 6), per_layer=True),
    )


@pytest.mark.parametrize(("pooling", "tokens"), [("mean", 6), ("token", 7)])
def test_a_token_is_a_patch_or_the_class_token(pooling, tokens):
    spec = small_vision(image=(6, 4, 3), patch=2, pooling=pooling)
    assert (spec.patches, spec.patch_values, spec.tokens) == (6, 12, tokens)


@pytest.mark.parametrize(
    ("example", "classes", "message"),
    [
        (
            (4, 2, 3),
            5,
            r"reads images .* \(4, 2, 2\), got .* give it image=\(4, 2",
        ),
        ((4,), 5, r"reads images .* got inputs of shape \(4,\)"),
        ((4, 2, 2), 6, "the model has 5 classes and the data 6"),
        ((4, 2, 2), {"one": 5}, r"the model has 5 classes and the data \{'one': 5\}"),
    ],
)
def test_data_that_do_not_fit_are_refused(example, classes, message):
    with pytest.raises(ValueError, match=message):
        small_vision().check(example, classes)


def test_data_that_fit_are_taken():
    small_vision().check((4, 2, 2), 5)


def test_costs_are_of_images_of_the_spec_only():
    spec = small_vision()
    genotypes = spec.space().sample(2, np.random.default_rng(0))
    with pytest.raises(ValueError, match="reads images of height, width and channels"):
        spec.costs(genotypes, batch=1, example=(8, 8, 2))
