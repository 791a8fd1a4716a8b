"""Two digits on one canvas: where they lie, and that neither tells of the other."""

import numpy as np

from nas.data import DigitPairs, Digits
from nas.data.digits import epoch_rows


def by_pixels(images):
    return {image.tobytes() for image in images}


def test_both_digits_show_and_the_brighter_pixel_where_they_overlap():
    inputs, targets = DigitPairs().batch(size=64, seed=1, step=2)
    images, digits = Digits().fixed("train", 9999)
    rows = epoch_rows(len(digits), size=64, seed=1, step=2)
    np.testing.assert_array_equal(targets["left"], digits[rows])
    for canvas, left, right in zip(inputs, images[rows], targets["right"], strict=True):
        np.testing.assert_array_equal(
            canvas[:4], np.pad(left[:4], ((0, 0), (0, 4), (0, 0)))
        )
        # What the right digit covers alone tells which image it is.
        alone = (images[:, 4:] == canvas[8:, 4:]).all((1, 2, 3))
        alone &= (images[:, :, 4:] == canvas[4:, 8:]).all((1, 2, 3))
        (row,) = np.flatnonzero(alone)
        assert digits[row] == right
        shared = np.maximum(left[4:, 4:], images[row, :4, :4])
        np.testing.assert_array_equal(canvas[4:8, 4:8], shared)
        assert not canvas[:4, 8:].any()
        assert not canvas[8:, :4].any()


def test_pairs_of_a_split_are_many_and_of_its_own_images():
    images, _ = Digits().fixed("test", 9999)
    inputs, targets = DigitPairs().fixed("test", 9999)
    assert len(inputs) == len(targets["left"]) == len(targets["right"]) == 2048
    assert len(by_pixels(inputs)) > 2000
    assert by_pixels(inputs[:, :4, :8]) == by_pixels(images[:, :4])
    assert by_pixels(inputs[:, 8:, 4:]) <= by_pixels(images[:, 4:])


def test_how_many_are_asked_for_changes_no_pair():
    few, many = (DigitPairs().fixed("search", count) for count in (10, 2000))
    np.testing.assert_array_equal(few.inputs, many.inputs[:10])
    for task, labels in few.targets.items():
        np.testing.assert_array_equal(labels, many.targets[task][:10])


def test_a_digit_says_nothing_of_its_partner():
    together = np.zeros((10, 10))
    for step in range(100):
        targets = DigitPairs().batch(size=100, seed=0, step=step).targets
        np.add.at(together, (targets["left"], targets["right"]), 1)
    # 100 expected in each of the 100 cells, give or take 10.
    assert abs(together - 100).max() < 50


def test_an_image_comes_with_another_partner_in_another_epoch():
    data, images = DigitPairs(), len(Digits().fixed("train", 9999).targets)
    targets = [data.batch(size=images, seed=0, step=step).targets for step in range(2)]
    orders = [
        np.argsort(epoch_rows(images, size=images, seed=0, step=s)) for s in (0, 1)
    ]
    first, second = (t["right"][o] for t, o in zip(targets, orders, strict=True))
    assert 0.85 < np.mean(first != second) < 0.95
