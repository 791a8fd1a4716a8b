"""The archive: durable, and honest about damage."""

import dataclasses
import json
import os

import numpy as np
import pytest

from search.archive import Archive, Record


def record(gene=0, **changes):
    made = Record(
        genotype=(gene, 1),
        arch={"layers": [0], "width": 64, "ffn": [gene]},
        metrics={"error": 0.1 + gene, "latency_ms": 1 / 3},
        campaign="test",
        index=gene,
        seconds=1.5,
    )
    return dataclasses.replace(made, **changes)


def genotype(gene):
    return np.asarray([gene, 1], np.int32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "archive.jsonl"


def test_records_are_read_back_as_they_were_written(path):
    archive = Archive(path)
    assert archive.records == ()
    archive.append([record(0), record(1)])
    archive.append([])
    archive.append([record(2)])
    again = Archive(path)
    assert again.records == archive.records == (record(0), record(1), record(2))
    assert again.dropped == 0
    assert len(again) == 3
    assert len(path.read_text().splitlines()) == 3


def test_records_are_looked_up_by_genotype(path):
    archive = Archive(path)
    archive.append([record(0), record(2)])
    assert archive.lookup(genotype(2)) == record(2)
    assert archive.lookup(genotype(1)) is None
    both = np.stack([genotype(1), genotype(0)])
    assert archive.lookup_many(both) == [None, record(0)]


def test_an_archive_without_a_path_lives_in_memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    archive = Archive()
    archive.append([record()])
    assert archive.lookup(genotype(0)) == record()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", range(1, 40, 7))
def test_a_torn_last_line_is_dropped_and_the_file_mended(path, kept):
    Archive(path).append([record(0), record(1)])
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:kept])
    mended = Archive(path)
    assert mended.dropped == 1
    assert mended.records == (record(0), record(1))
    assert path.read_bytes() == whole
    mended.append([record(2)])
    assert Archive(path).records == (record(0), record(1), record(2))


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"",
        b"null",
        b"\xff\xfe",
        json.dumps({"genotype": [5, 1]}).encode(),
        json.dumps(dataclasses.asdict(record(5)) | {"extra": 1}).encode(),
        json.dumps(dataclasses.asdict(record(5)) | {"metrics": None}).encode(),
        json.dumps(dataclasses.asdict(record(5)) | {"metrics": {"a": "x"}}).encode(),
        json.dumps(dataclasses.asdict(record(5)) | {"genotype": "51"}).encode(),
        json.dumps(dataclasses.asdict(record(5)) | {"genotype": [0.5]}).encode(),
        json.dumps(dataclasses.asdict(record(5)) | {"arch": {}}).encode(),
        json.dumps(dataclasses.asdict(record(0))).encode(),
    ],
)
def test_a_corrupt_line_is_named_and_the_file_left_alone(path, line):
    Archive(path).append([record(0), record(1)])
    first, second, _ = path.read_bytes().split(b"\n")
    damaged = b"\n".join([first, line, second, b""])
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"archive\.jsonl, line 2: not an archive"):
        Archive(path)
    assert path.read_bytes() == damaged


def test_a_genotype_is_archived_once(path):
    archive = Archive(path)
    archive.append([record(0)])
    for records in ([record(1), record(0)], [record(1), record(1, seconds=9.0)]):
        with pytest.raises(ValueError, match="in the archive already"):
            archive.append(records)
    assert archive.records == Archive(path).records == (record(0),)


def test_an_append_is_one_write_and_on_disk_when_it_returns(path, monkeypatch):
    synced = []
    sync = os.fsync

    def fsync(descriptor):
        synced.append(path.read_bytes())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    Archive(path).append([record(0), record(1)])
    assert synced == [path.read_bytes()]


def test_a_failed_append_leaves_nothing_behind(path, monkeypatch):
    archive = Archive(path)
    archive.append([record(0)])
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            archive.append([record(1)])
    assert path.read_bytes() == before
    assert archive.lookup(genotype(1)) is None
    archive.append([record(1)])
    assert Archive(path).records == (record(0), record(1))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_metric_that_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match=r"metric 'error' of .*\"width\": 64.* finite"):
        record(metrics={"error": value})
