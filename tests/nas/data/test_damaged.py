"""Data that is missing, damaged or not what was said: one clear error for each kind."""

import dataclasses
import os
import shutil
import struct

import msgpack
import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter
from PIL import Image

from nas.data import ImageArrays, TokenShards
from nas.data.array_records import write_image_records
from nas.errors import UsageError
from tests.nas.data.stored import (
    encoded,
    write_arrays,
    write_folder,
    write_records,
    write_tokens,
)


def cut_short(path, share=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def rewrite(path, records):
    """Writes records that nobody has looked at."""
    path.unlink(missing_ok=True)
    writer = ArrayRecordWriter(str(path), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()


def packed(**record):
    return [msgpack.packb(record)] * 2


def remove(folder):
    shutil.rmtree(folder)


def emptied(folder):
    for path in folder.iterdir():
        path.unlink()


def without(folder, ending):
    for path in folder.glob(f"*{ending}"):
        path.unlink()


def with_file_for_folder(folder):
    shutil.rmtree(folder)
    folder.write_text("a file")


def without_classes(folder):
    shutil.rmtree(folder / "train")
    (folder / "train").mkdir()


def with_deep_picture(folder):
    file = folder / "test" / "bear" / "00.jpg"
    Image.fromarray(np.full((9, 9), 60000, np.uint16)).save(file, "PNG")


FOLDERS = {
    "missing": (remove, r"data folder '.*/data' does not exist; give one with train/"),
    "a file": (with_file_for_folder, r"data folder .*/data is a file; give a folder"),
    "no train": (lambda f: remove(f / "train"), r"/data has no folder train; put imag"),
    "no test": (
        lambda f: remove(f / "test"),
        r"/data has no folder test or val or validation; put images into .*test/CLASS",
    ),
    "no class": (without_classes, r"/data/train has no folder for any class; put"),
    "empty class": (
        lambda f: emptied(f / "search" / "cat"),
        r"/data/search/cat holds no images \(\.jpg, .*\); add some, or remove the fol",
    ),
    "classes differ": (
        lambda f: (f / "test" / "cat").rename(f / "test" / "dog"),
        r"/data/train and .*/data/test differ in the classes cat, dog; both need all",
    ),
    "nothing to hold out": (
        lambda f: remove(f / "search"),
        r"/data/train has too few images to hold some out, none is left to search on",
    ),
    "truncated picture": (
        lambda f: cut_short(f / "train" / "bear" / "00.jpg", 0.95),
        r"image .*/train/bear/00\.jpg cannot be decoded \(.*trunc.*\); replace or remo",
    ),
    "no picture": (
        lambda f: (f / "train" / "bear" / "00.jpg").write_text("no picture"),
        r"image .*/00\.jpg cannot be decoded \(cannot identify .*\); replace or remove",
    ),
    "empty picture": (
        lambda f: (f / "train" / "bear" / "00.jpg").write_bytes(b""),
        r"image .*/train/bear/00\.jpg cannot be decoded",
    ),
    "a folder as a picture": (
        lambda f: (
            (f / "train" / "bear" / "00.jpg").unlink(),
            (f / "train" / "bear" / "00.jpg").mkdir(),
        ),
        r"image .*/train/bear/00\.jpg cannot be read: .*Is a directory",
    ),
    "16 bits": (with_deep_picture, r"cannot be decoded \(of mode I;16: more than 8 bi"),
}

RECORDS = {
    "missing": (remove, r"data folder '.*/data' does not exist; give one with train\*"),
    "no files": (
        lambda f: without(f, ".array_record"),
        r"/data has no file train\*\.array_record for the train split; add at l",
    ),
    "no test": (
        lambda f: (f / "test-0.array_record").unlink(),
        r"/data has no file test\*\.array_record for the test split; add at least one",
    ),
    "truncated": (
        lambda f: cut_short(f / "train-1.array_record"),
        r"data file .*/train-1\.array_record cannot be opened \(truncated or no Array",
    ),
    "empty file": (
        lambda f: (f / "train-1.array_record").write_bytes(b""),
        r"train-1\.array_record cannot be opened \(.*\); copy or write it again",
    ),
    "other bytes": (
        lambda f: (f / "search-0.array_record").write_bytes(b"abc" * 50000),
        r"search-0\.array_record cannot be opened \(.*\); copy or write it again",
    ),
    "no records": (
        lambda f: rewrite(f / "test-0.array_record", []),
        r"/data has no record in its test\*\.array_record files; at least o",
    ),
    "no msgpack": (
        lambda f: rewrite(f / "test-0.array_record", [b"\xc1 other"]),
        r"record 0 of .*/test-0\.array_record is not MessagePack \(.*\); write it with",
    ),
    "no map": (
        lambda f: rewrite(f / "test-0.array_record", [msgpack.packb(7)]),
        r"record 0 of .*test-0\.array_record must be a map .*, it has no keys; write",
    ),
    "a key lacks": (
        lambda f: rewrite(f / "test-0.array_record", packed(image=encoded(0))),
        r"must be a map with 'image' as bytes and 'label' as .*, it has \['image'\];",
    ),
    "a label too large": (
        lambda f: rewrite(f / "test-0.array_record", packed(image=encoded(0), label=2)),
        r"record 0 of .*test-0\.array_record has the label 2, outside the classes 0",
    ),
    "no picture": (
        lambda f: rewrite(f / "test-0.array_record", packed(image=b"no", label=0)),
        r"image record 0 of .*/test-0\.array_record cannot be decoded",
    ),
}


def longer_header(file):
    """Says that there are more tokens than there are."""
    content = file.read_bytes()
    assert b"'shape': (101,)" in content
    file.write_bytes(content.replace(b"'shape': (101,)", b"'shape': (901,)"))


def save(name, array):
    return lambda folder: np.save(folder / f"{name}.npy", array)


TOKENS = {
    "missing": (remove, r"data folder '.*/data' does not exist; give one with train\*"),
    "no search": (
        lambda f: without(f, "search-0.npy"),
        r"/data has no file search\*\.npy for the search split; add at least one",
    ),
    "truncated": (
        lambda f: cut_short(f / "train-0.npy", 0.8),
        r"data file .*/train-0\.npy is damaged or no array \(.*\); write it again with",
    ),
    "too long a header": (
        lambda f: longer_header(f / "train-0.npy"),
        r"train-0\.npy is damaged or no array \(",
    ),
    "no array": (
        lambda f: (f / "train-0.npy").write_text("no array"),
        r"train-0\.npy is damaged or no array \(",
    ),
    "empty file": (
        lambda f: (f / "train-0.npy").write_bytes(b""),
        r"train-0\.npy is damaged or no array \(",
    ),
    "pickled": (
        save("train-0", np.asarray([{}], object)),
        r"train-0\.npy is damaged or no array \(.*\)",
    ),
    "floats": (
        save("train-0", np.zeros(99)),
        r"train-0\.npy holds float64 of shape \(99,\); tokens must be uint8, uint16, ",
    ),
    "two axes": (
        save("test-1", np.zeros((9, 9), np.uint8)),
        r"test-1\.npy holds uint8 of shape \(9, 9\); .* with one axis",
    ),
    "too short": (
        save("test-1", np.zeros(6, np.uint8)),
        r"test-1\.npy has 6 tokens, a window needs 7; join it with another, or give a",
    ),
    "a token too large": (
        save("test-1", np.full(60, 50, np.uint16)),
        r"test-1\.npy has the token 50 near place 0, outside the vocabulary 0\.\.49; ",
    ),
    "a token below zero": (
        save("test-1", np.full(60, -1, np.int32)),
        r"test-1\.npy has the token -1 near place 0, outside the vocabulary 0\.\.49",
    ),
}


@pytest.mark.parametrize(
    ("write", "damage", "message"),
    [
        pytest.param(write, *case, id=f"{write.__name__}: {name}")
        for write, cases in (
            (write_folder, FOLDERS),
            (write_records, RECORDS),
            (write_tokens, TOKENS),
        )
        for name, case in cases.items()
    ],
)
def test_damage_is_found_before_training_and_named(write, damage, message, tmp_path):
    data = write(tmp_path / "data")
    damage(tmp_path / "data")
    with pytest.raises(UsageError, match=message) as caught:
        data.check()
    assert "\n" not in str(caught.value)


NAN = np.full((12, 8, 8, 3), np.nan, np.float32)

ARRAYS = {
    "no array": ({"test_labels": None}, r"has no array test_labels; it has train_imag"),
    "lengths differ": (
        {"train_labels": np.zeros(11, int)},
        r"arrays\.npz: there are 12 train_images but 11 labels",
    ),
    "wrong rank": (
        {"train_images": np.zeros((12, 192), np.uint8)},
        r"train_images must have 3 or 4 axes and train_labels one, got 2 and 1",
    ),
    "wrong side": (
        {"test_images": np.zeros((8, 9, 8, 3), np.uint8)},
        r"test_images have the shape \(9, 8, 3\), \(8, 8, 3\) was expected; give ",
    ),
    "empty": (
        {
            "search_images": np.zeros((0, 8, 8, 3), np.uint8),
            "search_labels": np.zeros(0, int),
        },
        r"search_images are empty; at least one is needed",
    ),
    "labels that are floats": (
        {"train_labels": np.zeros(12)},
        r"train_labels must be whole numbers, got float64",
    ),
    "other numbers": (
        {"train_images": np.zeros((12, 8, 8, 3), np.int16)},
        r"train_images must be uint8 or floats, got int16",
    ),
    "floats that are not scaled": (
        {"train_images": np.full((12, 8, 8, 3), 255.0)},
        r"train_images that are floats must lie in \[0, 1\], got 255\.0\.\.255\.0; ",
    ),
    "not a number": ({"train_images": NAN}, r"must lie in \[0, 1\], got nan"),
    "a label too large": (
        {"test_labels": np.full(8, 2)},
        r"test_labels has the label 2, outside the classes 0\.\.1; correct it, or give",
    ),
    "pickled": (
        {"test_labels": np.asarray([{}] * 8, object)},
        r"is damaged or no \.npz",
    ),
}


@pytest.mark.parametrize(("changed", "message"), ARRAYS.values(), ids=ARRAYS)
def test_arrays_that_will_not_do_are_refused(changed, message, tmp_path):
    data = write_arrays(tmp_path / "arrays.npz", **changed)
    with pytest.raises(UsageError, match=message) as caught:
        data.check()
    assert "arrays.npz" in str(caught.value)


def test_a_file_of_arrays_that_is_damaged_or_another_is_named(tmp_path):
    path = tmp_path / "arrays.npz"

    def message(name="arrays.npz"):
        data = ImageArrays(path=str(tmp_path / name), side=8, classes=2)
        with pytest.raises(UsageError) as caught:
            data.check()
        return str(caught.value)

    assert "absent.npz' does not exist; give an .npz file with" in message("absent.npz")
    write_arrays(path)
    cut_short(path)
    assert "arrays.npz is damaged or no .npz file (File is not a zip" in message()
    path.write_text("no arrays")
    assert "arrays.npz is damaged or no .npz file" in message()
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    assert "arrays.npz is damaged or no .npz file" in message()
    write_arrays(path)
    content = bytearray(path.read_bytes())
    content[500:600] = bytes(100)
    path.write_bytes(content)
    assert "arrays.npz is damaged or no .npz file (Bad CRC-32" in message()


def test_a_folder_of_another_number_of_classes_is_refused(tmp_path):
    data = dataclasses.replace(write_folder(tmp_path), classes=3)
    with pytest.raises(
        UsageError, match=r"has 2 classes, 3 were expected; give --data"
    ):
        data.check()


def test_no_path_is_refused():
    with pytest.raises(UsageError, match="data folder '' does not exist"):
        TokenShards(path="", tokens=4, vocabulary=5).check()


@pytest.mark.parametrize("write", [write_folder, write_records, write_tokens])
def test_a_folder_without_permission_is_named(write, tmp_path, monkeypatch):
    data = write(tmp_path / "data")

    # As root every folder can be read.
    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(UsageError, match=r"/data\S* cannot be read: .*Permission deni"):
        data.check()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_picture_without_permission_is_named(tmp_path):
    data = write_folder(tmp_path)
    (tmp_path / "train" / "bear" / "00.jpg").chmod(0)
    with pytest.raises(
        UsageError, match=r"00\.jpg cannot be read: .*Permission denied"
    ):
        data.check()


def test_damage_that_only_shows_in_training_names_the_file_too(tmp_path):
    folder, tokens = (
        write_folder(tmp_path / "images"),
        write_tokens(tmp_path / "tokens"),
    )
    (tmp_path / "images" / "train" / "cat" / "01.png").write_bytes(encoded(1)[:60])
    values = np.zeros(101, np.uint8)
    values[50] = 50
    np.save(tmp_path / "tokens" / "train-0.npy", values)
    for data, message in (
        (folder, r"image .*/train/cat/01\.png cannot be decoded"),
        (tokens, r"train-0\.npy has the token 50 near place \d+, outside"),
    ):
        data.check()
        with pytest.raises(UsageError, match=message):
            data.batch(size=20, seed=0, step=0)


def test_damage_inside_a_file_of_records_names_the_record(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (40, 40, 3), np.uint8)
    data = write_records(tmp_path)
    pairs = [(encoded(n), 0) for n in range(9)]
    pairs[4] = (noise.tobytes(), 0)
    write_image_records(tmp_path / "train-0.array_record", pairs)
    data.check()
    with pytest.raises(UsageError, match=r"image record 4 of .*train-0.* cannot be de"):
        data.batch(size=30, seed=0, step=0)


def test_a_picture_of_impossible_size_is_refused(tmp_path):
    data = write_folder(tmp_path)
    path = tmp_path / "test" / "cat" / "01.png"
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 100000, 100000)
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"test/cat/\S+ cannot be decoded"):
        data.fixed("test", 99)


def test_fewer_examples_than_a_batch_are_enough(tmp_path):
    for data in (write_folder(tmp_path / "images"), write_tokens(tmp_path / "tokens")):
        batch = data.batch(size=50, seed=0, step=0)
        assert len(batch.inputs) == 50
