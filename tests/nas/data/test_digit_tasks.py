"""Two tasks on one image: corners are right, and independent of digits."""

import numpy as np

from nas.data import Digits, DigitTasks
from nas.data.digits import epoch_rows

ROOM = 12 - 8


def places(inputs, images):
    """Where each image lies on its canvas: rows and columns before it."""
    found = []
    for canvas, image in zip(inputs, images, strict=True):
        at = [
            (row, column)
            for row in range(ROOM + 1)
            for column in range(ROOM + 1)
            if (canvas[row : row + 8, column : column + 8] == image).all()
            and np.isclose(canvas.sum(), image.sum(), rtol=1e-5)
        ]
        # Narrow digits fit in more than one place only by their empty edges.
        found.append(at)
    return found


def corner_of(row, column):
    return 2 * (row > ROOM // 2) + (column > ROOM // 2)


def test_an_image_lies_whole_in_the_corner_that_its_label_names():
    inputs, targets = DigitTasks().batch(size=64, seed=1, step=2)
    images, digits = Digits().fixed("train", 9999)
    rows = epoch_rows(len(digits), size=64, seed=1, step=2)
    np.testing.assert_array_equal(targets["digit"], digits[rows])
    for at, corner in zip(
        places(inputs, images[rows]), targets["corner"].tolist(), strict=True
    ):
        assert len(at) == 1
        (row, column) = at[0]
        assert ROOM // 2 not in (row, column)
        assert corner_of(row, column) == corner


def test_how_many_are_asked_for_moves_no_image():
    few, many = (DigitTasks().fixed("search", count) for count in (10, 200))
    np.testing.assert_array_equal(few.inputs, many.inputs[:10])
    for task, labels in few.targets.items():
        np.testing.assert_array_equal(labels, many.targets[task][:10])


def test_a_corner_says_nothing_of_the_digit():
    digits, corners = [], []
    for step in range(40):
        targets = DigitTasks().batch(size=100, seed=0, step=step).targets
        digits.append(targets["digit"])
        corners.append(targets["corner"])
    together = np.zeros((10, 4))
    np.add.at(together, (np.concatenate(digits), np.concatenate(corners)), 1)
    # 100 expected in each of the 40 cells, give or take 10.
    assert abs(together - 100).max() < 45
    together /= together.sum()
    rows, columns = together.sum(1, keepdims=True), together.sum(0, keepdims=True)
    information = (together * np.log(together / (rows * columns))).sum()
    assert information < 0.01


def test_an_image_comes_to_other_corners_in_other_epochs():
    data, images = DigitTasks(), len(Digits().fixed("train", 9999).targets)
    targets = [data.batch(size=images, seed=0, step=step).targets for step in range(4)]
    order = [epoch_rows(images, size=images, seed=0, step=step) for step in range(4)]
    corners = [t["corner"][np.argsort(o)] for t, o in zip(targets, order, strict=True)]
    changed = np.mean(corners[0] != corners[1])
    assert 0.7 < changed < 0.8
