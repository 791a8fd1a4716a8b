"""Digits: stratified splits without a common image, epochs, and shifts."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from nas.data import Digits
from nas.data.digits import epoch_rows, labelled

SPLITS = ("train", "search", "test")
SIZES = (1078, 359, 360)


def whole(split):
    return Digits().fixed(split, 9999)


def test_splits_share_out_all_images_and_every_digit_alike():
    stored = load_digits()
    images = [tuple(image.ravel()) for image in stored.images / 16]
    found = []
    for split, size in zip(SPLITS, SIZES, strict=True):
        inputs, targets = whole(split)
        assert len(inputs) == size
        shares = np.bincount(targets) / np.bincount(stored.target)
        np.testing.assert_allclose(shares, size / 1797, atol=0.01)
        rows = [tuple(image.ravel().tolist()) for image in inputs]
        found += zip(rows, targets.tolist(), strict=True)
    expected = zip(images, stored.target.tolist(), strict=True)
    assert sorted(found) == sorted(expected)


def test_the_first_images_have_equally_many_of_each_digit():
    for split in SPLITS:
        inputs, targets = Digits().fixed(split, 50)
        assert np.bincount(targets).tolist() == [5] * 10
        np.testing.assert_array_equal(whole(split).inputs[:50], inputs)


def test_pixels_lie_in_the_unit_interval_and_cannot_be_written_to():
    inputs = whole("train").inputs
    assert (inputs.min(), inputs.max()) == (0.0, 1.0)
    with pytest.raises(ValueError, match="read-only"):
        labelled("train").images[0] = 0


def test_every_epoch_shows_each_image_once_in_another_order():
    steps = [epoch_rows(10, size=4, seed=0, step=step) for step in range(10)]
    epochs = np.concatenate(steps).reshape(4, 10)
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs.tolist())
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 4
    # A step may be longer than an epoch.
    counts = np.bincount(epoch_rows(3, size=7, seed=0, step=0))
    assert counts.sum() == 7
    assert set(counts.tolist()) == {2, 3}


def test_training_images_are_those_of_the_split_with_their_digits():
    inputs, targets = Digits().batch(size=8, seed=3, step=5)
    images, digits = whole("train")
    rows = epoch_rows(len(digits), size=8, seed=3, step=5)
    np.testing.assert_array_equal(inputs, images[rows])
    np.testing.assert_array_equal(targets, digits[rows])


def test_a_shift_moves_the_image_and_leaves_the_edge_empty():
    plain = Digits().batch(size=200, seed=0, step=0)
    moved = Digits(shift=2).batch(size=200, seed=0, step=0)
    np.testing.assert_array_equal(plain.targets, moved.targets)
    padded = np.pad(plain.inputs, ((0, 0), (2, 2), (2, 2), (0, 0)))
    seen = set()
    for image, given in zip(padded, moved.inputs, strict=True):
        at = [
            (row, column)
            for row in range(5)
            for column in range(5)
            if (image[row : row + 8, column : column + 8] == given).all()
        ]
        assert at
        seen.update(at)
    assert len(seen) == 25
    # What is judged is never moved.
    first = Digits(shift=2).fixed("test", 20).inputs
    np.testing.assert_array_equal(first, Digits().fixed("test", 20).inputs)


@pytest.mark.parametrize("shift", [-1, 8])
def test_a_shift_out_of_the_image_is_refused(shift):
    with pytest.raises(ValueError, match=rf"shift must lie in 0\.\.7, got {shift}"):
        Digits(shift=shift)
