"""Small data sets in files, of every kind that is read from files."""

import io

import numpy as np
from PIL import Image

from nas.data import ArrayRecords, ImageArrays, ImageFolder, TokenShards
from nas.data.array_records import write_image_records

CLASSES = ("bear", "cat")
COUNTS = {"train": 12, "search": 7, "test": 8}
"""Images of each split, both classes together but for the odd one."""

SIDE = 8
VOCABULARY = 50
LENGTHS = {"train": (101, 40), "search": (90,), "test": (64, 30)}
"""Tokens in the files of each split."""


def encoded(number, ending=".png", size=(11, 9)):
    """Returns a picture's file: smooth colours of its own, and its height and width."""
    rng = np.random.default_rng(number)
    small = Image.fromarray(rng.integers(0, 256, (3, 3, 3), np.uint8))
    file = io.BytesIO()
    kind = {".png": "PNG", ".jpg": "JPEG"}[ending]
    small.resize(size, Image.Resampling.BICUBIC).save(file, kind)
    return file.getvalue()


def write_folder(folder, counts=None):
    """Writes pictures in folders by split and class, in two formats."""
    number = 0
    for split, count in (counts or COUNTS).items():
        for image in range(count):
            ending = (".png", ".jpg")[image % 3 == 0]
            path = folder / split / CLASSES[image % 2] / f"{image:02}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(number, ending))
            number += 1
    return ImageFolder(path=str(folder), side=SIDE, classes=len(CLASSES))


def write_records(folder):
    """Writes pictures as records, those of training in two files."""
    folder.mkdir(exist_ok=True)
    number = 0
    for split, count in COUNTS.items():
        pairs = [(encoded(number + i), i % 2) for i in range(count)]
        number += count
        half = count // 2 if split == "train" else 0
        write_image_records(folder / f"{split}-0.array_record", pairs[half:])
        if half:
            write_image_records(folder / f"{split}-1.array_record", pairs[:half])
    return ArrayRecords(path=str(folder), side=SIDE, classes=len(CLASSES))


def arrays():
    """Returns the arrays of a file of images."""
    rng, held = np.random.default_rng(0), {}
    for split, count in COUNTS.items():
        shape = (count, SIDE, SIDE, 3)
        held[f"{split}_images"] = rng.integers(0, 256, shape, np.uint8)
        held[f"{split}_labels"] = np.arange(count) % 2
    return held


def write_arrays(path, **changed):
    """Writes a file of images, with some arrays changed, or left out if None."""
    held = {n: a for n, a in {**arrays(), **changed}.items() if a is not None}
    np.savez(path, **held)
    return ImageArrays(path=str(path), side=SIDE, classes=len(CLASSES))


def write_tokens(folder, tokens=6):
    """Writes token files, each of another type."""
    folder.mkdir(exist_ok=True)
    rng, types = np.random.default_rng(1), ("uint8", "uint16", "int32", "uint32")
    number = 0
    for split, lengths in LENGTHS.items():
        for shard, length in enumerate(lengths):
            kind = np.dtype(types[number % len(types)])
            values = rng.integers(0, VOCABULARY, length, kind)
            np.save(folder / f"{split}-{shard}.npy", values)
            number += 1
    return TokenShards(path=str(folder), tokens=tokens, vocabulary=VOCABULARY)


def write_all(folder):
    """Writes one data set of each kind."""
    return [
        write_folder(folder / "images"),
        write_records(folder / "records"),
        write_arrays(folder / "arrays.npz"),
        write_tokens(folder / "tokens"),
    ]
