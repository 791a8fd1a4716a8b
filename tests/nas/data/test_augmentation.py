"""Augmentations: off by default, the same for the same numbers, and in range."""

import dataclasses

import numpy as np
import pytest

from nas.data.augmentation import CROP_AND_FLIP, OFF, Augmentation, middle
from tests.nas.data.stored import write_arrays, write_folder

STRONG = Augmentation(
    crop=0.08, flip=0.5, brightness=0.4, contrast=0.4, saturation=0.4, erase=0.5
)


def random_image(channels=3):
    shape = (12, 16, channels)
    return np.random.default_rng(9).random(shape, np.float32)


def changed(augmentation, pixels, seed=0):
    return augmentation.changed(pixels, np.random.default_rng(seed))


def test_nothing_is_changed_unless_it_is_asked_for():
    pixels = random_image()
    np.testing.assert_array_equal(changed(OFF, pixels), pixels)
    assert Augmentation() == OFF


@pytest.mark.parametrize("channels", [1, 3])
def test_changed_pixels_stay_in_the_unit_interval_and_the_type(channels):
    pixels = random_image(channels)
    for seed in range(50):
        found = changed(STRONG, pixels, seed)
        assert found.shape == pixels.shape
        assert found.dtype == np.float32
        assert 0 <= found.min() <= found.max() <= 1
        np.testing.assert_array_equal(found, changed(STRONG, pixels, seed))
    # What is given is not written to.
    np.testing.assert_array_equal(pixels, random_image(channels))


def test_crops_have_the_area_and_aspect_that_were_asked_for():
    width, height, areas, rng = 500, 375, [], np.random.default_rng(0)
    cut = CROP_AND_FLIP.cut(rng)
    for _ in range(500):
        left, upper, right, lower = cut(width, height)
        assert 0 <= left < right <= width
        assert 0 <= upper < lower <= height
        aspect = (right - left) / (lower - upper)
        assert 0.74 < aspect < 1.35
        areas.append((right - left) * (lower - upper) / (width * height))
    assert 0.079 < min(areas) < 0.12
    assert 0.8 < max(areas) <= 1


def test_an_image_too_long_for_any_crop_gives_its_middle():
    cut = Augmentation(crop=1.0).cut(np.random.default_rng(0))
    assert cut(1000, 30) == (480.0, 0.0, 520.0, 30.0) == middle(1000, 30, 4 / 3)


def test_flips_come_as_often_as_asked_for():
    pixels = random_image()
    augmentation = Augmentation(flip=0.3)
    flipped = 0
    for seed in range(300):
        found = changed(augmentation, pixels, seed)
        mirrored = np.array_equal(found, pixels[:, ::-1])
        assert mirrored or np.array_equal(found, pixels)
        flipped += mirrored
    assert 60 < flipped < 120


def test_brightness_scales_all_pixels_alike():
    pixels = random_image() / 2
    found = changed(Augmentation(brightness=0.4), pixels)
    ratios = found / pixels
    np.testing.assert_allclose(ratios, ratios[0, 0, 0], rtol=1e-5)
    assert 0.6 <= ratios[0, 0, 0] <= 1.4
    assert ratios[0, 0, 0] != 1


def test_contrast_and_saturation_keep_the_brightness_they_are_around():
    weights = np.asarray([0.299, 0.587, 0.114], np.float32)
    pixels = random_image() / 4 + 3 / 8
    contrast = changed(Augmentation(contrast=0.4), pixels)
    np.testing.assert_allclose(
        (contrast @ weights).mean(), (pixels @ weights).mean(), rtol=1e-5
    )
    assert (contrast @ weights).std() != pytest.approx((pixels @ weights).std())
    saturation = changed(Augmentation(saturation=0.4), pixels)
    np.testing.assert_allclose(saturation @ weights, pixels @ weights, rtol=1e-5)
    assert abs(saturation - pixels).max() > 0.01


def test_saturation_leaves_grey_images_alone():
    pixels = random_image(1)
    found = changed(Augmentation(saturation=1.0), pixels)
    np.testing.assert_array_equal(found, pixels)


def test_a_rectangle_of_random_pixels_is_erased():
    pixels = np.full((40, 40, 3), 2.0, np.float32)
    for seed in range(30):
        gone = (changed(Augmentation(erase=1.0), pixels, seed) != 2).all(2)
        rows, columns = np.flatnonzero(gone.any(1)), np.flatnonzero(gone.any(0))
        assert gone.sum() == len(rows) * len(columns)
        assert 0.01 < gone.mean() < 0.36


@pytest.mark.parametrize("write", [write_folder, write_arrays])
def test_a_row_is_changed_alike_wherever_it_is_read_but_otherwise_later(
    write, tmp_path
):
    data = dataclasses.replace(write(tmp_path / "data.npz"), augmentation=STRONG)
    whole = data.batch(size=24, seed=0, step=0)
    one = data.batch(size=24, seed=0, step=0, rows=slice(7, 8))
    np.testing.assert_array_equal(one.inputs[0], whole.inputs[7])
    assert len({image.tobytes() for image in whole.inputs}) == 24
    # Judged images are never changed.
    plain = dataclasses.replace(data, augmentation=OFF)
    np.testing.assert_array_equal(
        data.fixed("test", 5).inputs, plain.fixed("test", 5).inputs
    )


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("crop", 1.5, r"crop must lie in 0\.\.1, where 0 is off, got 1\.5"),
        ("flip", -0.1, r"flip must lie in 0\.\.1, where 0 is off, got -0\.1"),
        ("aspect", 0.5, r"aspect must be at least 1, got 0\.5"),
    ],
)
def test_numbers_out_of_range_are_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**{field: value})
