"""Text as training data: splits, windows, and folders that will not do."""

import sysconfig
import zlib
from pathlib import Path

import numpy as np
import pytest

from nas.data import StdlibText
from nas.data.text import HELD_OUT_FILES
from nas.errors import UsageError

SPLITS = ("train", "search", "test")


@pytest.fixture
def folder(tmp_path):
    """Enough files for all splits; each line names its file."""
    for number in range(60):
        name = f"package{number % 3}/module{number}.py"
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"# {name} #\n" * 5)
    return tmp_path


def lines_of(array):
    return {line for line in bytes(array).decode().splitlines() if line}


def test_every_file_goes_whole_to_one_split(folder):
    data = StdlibText(tokens=8, folder=str(folder))
    found = [lines_of(data.text(split)) for split in SPLITS]
    everything = {f"# {p.relative_to(folder)} #" for p in folder.rglob("*.py")}
    assert set.union(*found) == everything
    assert sum(map(len, found)) == len(everything)
    for name in everything:
        bucket = zlib.crc32(name.strip("# ").encode()) % HELD_OUT_FILES
        split = {0: "search", 1: "test"}.get(bucket, "train")
        assert name in found[SPLITS.index(split)]


def test_what_is_not_source_of_the_library_is_left_out(folder):
    plain = StdlibText(tokens=8, folder=str(folder)).digest()
    (folder / "notes.txt").write_text("not Python")
    for name in ("site-packages/other.py", "test/big.py", "a/__pycache__/b.py"):
        path = folder / "copy" / name
        path.parent.mkdir(parents=True)
        path.write_text("left out")
    (folder / "link.py").symlink_to(folder / "notes.txt")
    # Spelled differently, since what was read once is kept.
    again = StdlibText(tokens=8, folder=str(folder / "copy" / ".."))
    assert again.digest() == plain


def test_windows_of_a_split_are_always_the_same_and_inside_it(folder):
    data = StdlibText(tokens=16, folder=str(folder))
    for split in SPLITS:
        text = data.text(split)
        inputs, targets = data.fixed(split, 7)
        assert inputs.shape == targets.shape == (7, 16)
        assert inputs.dtype == targets.dtype == np.int32
        np.testing.assert_array_equal(inputs[:, 1:], targets[:, :-1])
        np.testing.assert_array_equal(inputs[0], text[:16])
        np.testing.assert_array_equal(targets[-1], text[-16:])
        whole = text.tobytes()
        assert all(bytes(row.astype(np.uint8)) in whole for row in inputs)
        again = StdlibText(tokens=16, folder=str(folder)).fixed(split, 7)
        np.testing.assert_array_equal(again[0], inputs)


def test_a_batch_depends_on_seed_and_step_alone(folder):
    data = StdlibText(tokens=16, folder=str(folder))
    inputs, targets = data.batch(size=5, seed=1, step=2)
    # What was drawn in between does not matter.
    data.batch(size=3, seed=9, step=9)
    again = data.batch(size=5, seed=1, step=2)
    np.testing.assert_array_equal(again[0], inputs)
    np.testing.assert_array_equal(again[1], targets)
    np.testing.assert_array_equal(inputs[:, 1:], targets[:, :-1])
    for seed, step in ((1, 3), (2, 2)):
        assert (data.batch(size=5, seed=seed, step=step)[0] != inputs).any()
    train = data.text("train").tobytes()
    for row, last in zip(inputs, targets[:, -1], strict=True):
        assert bytes([*row.tolist(), int(last)]) in train


def test_the_digest_is_that_of_the_text(tmp_path):
    def digest(name, last, tokens=8):
        for number in range(60):
            path = tmp_path / name / f"module{number}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text("x = 1\n" * 5)
        path.write_text(last * 5)
        return StdlibText(tokens=tokens, folder=str(tmp_path / name)).digest()

    first = digest("first", "x = 1\n")
    assert len(first) == 16
    assert digest("second", "x = 1\n", tokens=9) == first
    assert digest("third", "x = 2\n") != first


def test_the_default_is_the_standard_library_of_this_python():
    data = StdlibText()
    assert data.root == Path(sysconfig.get_path("stdlib"))
    assert len(data.text("train")) > 10 * len(data.text("search")) > 0
    assert b"argparse" in data.text("train").tobytes()


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"absent does not exist; give one with \.py"):
        StdlibText(folder=str(tmp_path / "absent")).text("train")


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"gives 0 bytes .* a window needs 129; give"):
        StdlibText(folder=str(tmp_path)).text("train")


def test_too_little_text_names_the_split_it_is_too_little_for(folder):
    data = StdlibText(tokens=500, folder=str(folder))
    with pytest.raises(UsageError, match=r"bytes of \.py text for the (search|test) s"):
        data.fixed("search", 1)


def test_a_file_that_cannot_be_read_is_named(folder, monkeypatch):
    # As root every file can be read.
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    message = r"data file .*module\d+\.py cannot be read: .*Permission denied"
    with pytest.raises(UsageError, match=message):
        StdlibText(folder=str(folder)).text("train")


def test_a_window_has_at_least_two_bytes():
    with pytest.raises(ValueError, match="tokens must be at least 2, got 1"):
        StdlibText(tokens=1)
