"""Stored images: splits, decoding, the part that is judged, and normalisation."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from nas.data import ArrayRecords, ImageArrays, ImageFolder
from nas.data.array_records import write_image_records
from nas.data.augmentation import OFF
from nas.data.images import IMAGENET_MEAN, IMAGENET_STD
from nas.data.pictures import cut_out, decoded, judged
from tests.nas.data.stored import (
    CLASSES,
    COUNTS,
    SIDE,
    arrays,
    encoded,
    write_arrays,
    write_folder,
    write_records,
)


def plainly(data):
    """Returns data without augmentation or normalisation."""
    channels = data.channels
    unit = {"mean": (0.0,) * channels, "std": (1.0,) * channels}
    return dataclasses.replace(data, augmentation=OFF, **unit)


def as_file(pixels, kind="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def in_bytes(images):
    return {image.tobytes() for image in images}


@pytest.mark.parametrize("write", [write_folder, write_records, write_arrays])
def test_an_epoch_shows_each_training_image_once_with_its_class(write, tmp_path):
    data = plainly(write(tmp_path / "data.npz"))
    whole = data.fixed("train", 99)
    assert np.bincount(whole.targets).tolist() == [6, 6]
    shown = {image.tobytes(): int(label) for image, label in zip(*whole, strict=True)}
    steps = [data.batch(size=4, seed=0, step=step) for step in range(6)]
    inputs = np.concatenate([step.inputs for step in steps])
    targets = np.concatenate([step.targets for step in steps])
    epochs = inputs.reshape(2, 12, -1)
    for epoch in epochs:
        assert in_bytes(epoch) == set(shown)
    assert (epochs[0] != epochs[1]).any()
    labels = [shown[image.tobytes()] for image in inputs]
    assert targets.tolist() == labels
    other = data.batch(size=4, seed=1, step=0)
    assert (other.inputs != steps[0].inputs).any()


@pytest.mark.parametrize("write", [write_folder, write_records, write_arrays])
def test_splits_have_their_own_images(write, tmp_path):
    data = plainly(write(tmp_path / "data.npz"))
    found = {split: data.fixed(split, 99) for split in COUNTS}
    for split, count in COUNTS.items():
        assert len(found[split].inputs) == count
    assert len(set.union(*(in_bytes(f.inputs) for f in found.values()))) == 27
    np.testing.assert_array_equal(
        data.fixed("test", 3).inputs, found["test"].inputs[:3]
    )


def test_records_and_folders_of_the_same_pictures_give_the_same_images(tmp_path):
    pairs = [(encoded(number), number % 2) for number in range(6)]
    for split in COUNTS:
        (tmp_path / "records").mkdir(exist_ok=True)
        file = tmp_path / "records" / f"{split}.array_record"
        assert write_image_records(file, pairs) == 6
        for number, (image, label) in enumerate(pairs):
            path = tmp_path / "images" / split / CLASSES[label] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image)
    options = {"side": SIDE, "classes": 2}
    records = ArrayRecords(path=str(tmp_path / "records"), **options)
    folder = ImageFolder(path=str(tmp_path / "images"), **options)
    first, second = records.fixed("test", 9), folder.fixed("test", 9)
    assert in_bytes(first.inputs) == in_bytes(second.inputs)
    assert [
        p.name for p in (tmp_path / "records").iterdir() if p.suffix == ".part"
    ] == []


def test_a_file_of_records_is_named_by_its_split(tmp_path):
    with pytest.raises(ValueError, match="must begin with train, search, test and end"):
        write_image_records(tmp_path / "images.array_record", [])


@pytest.mark.parametrize("name", ["val", "validation"])
def test_without_a_test_folder_validation_is_tested_on(name, tmp_path):
    data = plainly(write_folder(tmp_path / "one"))
    renamed = plainly(write_folder(tmp_path / "two"))
    (tmp_path / "two" / "test").rename(tmp_path / "two" / name)
    np.testing.assert_array_equal(
        renamed.fixed("test", 9).inputs, data.fixed("test", 9).inputs
    )


def test_without_a_search_folder_some_training_images_are_held_out(tmp_path):
    counts = {"train": 150, "test": 4}
    data = plainly(write_folder(tmp_path / "one", counts))
    again = plainly(write_folder(tmp_path / "two", counts))
    search, train = (data.fixed(split, 999) for split in ("search", "train"))
    assert 2 <= len(search.inputs) <= 20
    assert len(search.inputs) + len(train.inputs) == 150
    assert not in_bytes(search.inputs) & in_bytes(train.inputs)
    np.testing.assert_array_equal(again.fixed("search", 999).inputs, search.inputs)
    step = data.batch(size=len(train.inputs), seed=0, step=0)
    assert in_bytes(step.inputs) == in_bytes(train.inputs)


def test_files_that_are_no_images_are_left_alone(tmp_path):
    data = write_folder(tmp_path / "one")
    other = write_folder(tmp_path / "two")
    (tmp_path / "two" / "train" / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "two" / "train" / "list.jpg").write_text("in no class")
    assert other.digest() == data.digest()
    (tmp_path / "three").mkdir()
    third = write_folder(tmp_path / "three")
    (tmp_path / "three" / "train" / "cat" / "more.PNG").write_bytes(encoded(99))
    assert third.digest() != data.digest()
    assert len(third.fixed("train", 99).inputs) == 13


def test_the_middle_is_judged_as_if_resized_and_then_cropped():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
    found = decoded(as_file(pixels), name="", side=14, channels=3, cut=judged)
    small = Image.fromarray(pixels).resize((32, 16), Image.Resampling.BICUBIC)
    expected = np.asarray(small.crop((9, 1, 23, 15)), np.float32) / 255
    np.testing.assert_allclose(found, expected, atol=0.004)


def test_a_cut_is_what_is_shown():
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    found = decoded(
        as_file(pixels),
        name="",
        side=4,
        channels=3,
        cut=lambda *_: (5.0, 2.0, 9.0, 6.0),
    )
    np.testing.assert_allclose(found, pixels[2:6, 5:9] / 255, atol=1e-6)
    floats = (pixels / 255).astype(np.float32)
    assert (cut_out(floats, lambda *_: (0.0, 0.0, 12.0, 9.0)) == floats).all()
    # Of an array as of a file, but for the rounding of the latter.
    square = floats[:, :9]
    np.testing.assert_allclose(
        cut_out(square, lambda *_: (2.0, 1.0, 6.0, 5.0)),
        decoded(
            as_file(pixels[:, :9]),
            name="",
            side=9,
            channels=3,
            cut=lambda *_: (2.0, 1.0, 6.0, 5.0),
        ),
        atol=0.004,
    )


def test_pictures_of_other_kinds_become_those_that_were_asked_for():
    grey = np.tile(np.arange(0, 160, 10, dtype=np.uint8), (16, 1))
    for kind in ("PNG", "JPEG", "GIF", "BMP"):
        found = decoded(as_file(grey, kind), name="", side=8, channels=3, cut=judged)
        assert found.shape == (8, 8, 3)
        assert abs(found - found.mean(2, keepdims=True)).max() < 0.02
    one = decoded(encoded(1), name="", side=8, channels=1, cut=judged)
    assert one.shape == (8, 8, 1)
    assert 0 <= one.min() < one.max() <= 1


def test_a_large_jpeg_is_drafted_without_moving_what_is_shown():
    rows, columns = np.mgrid[:512, :640]
    pixels = np.stack([rows // 4, columns // 4, rows // 8 + columns // 8], 2)
    pixels = pixels.astype(np.uint8)
    files = as_file(pixels, "JPEG", quality=95), as_file(pixels)
    drafted, whole = (
        decoded(
            f, name="", side=16, channels=3, cut=lambda *_: (40.0, 16.0, 500.0, 476.0)
        )
        for f in files
    )
    np.testing.assert_allclose(drafted, whole, atol=0.01)


def test_channels_are_normalised_as_on_imagenet_unless_told_otherwise(tmp_path):
    data = dataclasses.replace(write_folder(tmp_path), augmentation=OFF)
    plain = plainly(data).fixed("test", 8).inputs
    expected = (plain - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_STD)
    np.testing.assert_allclose(data.fixed("test", 8).inputs, expected, rtol=1e-5)
    np.testing.assert_allclose(
        dataclasses.replace(data, mean=(0.5, 0.4, 0.3), std=(0.5, 0.5, 0.2))
        .batch(size=3, seed=0, step=0)
        .inputs,
        (plainly(data).batch(size=3, seed=0, step=0).inputs - [0.5, 0.4, 0.3])
        / [0.5, 0.5, 0.2],
        rtol=1e-4,
        atol=1e-6,
    )
    grey = dataclasses.replace(data, channels=1).fixed("test", 8).inputs
    assert 0 <= grey.min() < grey.max() <= 1


def test_arrays_may_be_floats_and_have_no_axis_of_channels(tmp_path):
    held = {
        name: array[..., 0] / np.float32(255) if "images" in name else array
        for name, array in arrays().items()
    }
    np.savez(tmp_path / "grey.npz", **held)
    data = ImageArrays(path=str(tmp_path / "grey.npz"), side=8, channels=1, classes=2)
    data.check()
    whole = plainly(write_arrays(tmp_path / "colour.npz"))
    np.testing.assert_allclose(
        data.fixed("test", 8).inputs[..., 0],
        whole.fixed("test", 8).inputs[..., 0],
        rtol=1e-6,
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"side": 0}, "side must be at least 1, got 0"),
        ({"classes": 1}, "classes must be at least 2, got 1"),
        ({"mean": (0.5,)}, "mean needs a number for each of 3 channels, or none"),
        ({"std": (1.0, 0.0, 1.0)}, "std must be positive"),
    ],
)
def test_numbers_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ImageFolder(**{"path": "somewhere", "side": 8, "classes": 2, **changes})
