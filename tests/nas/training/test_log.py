"""The training log: whole lines, even where the disk is full for a while."""

import resource

import pytest

from nas.rundir import append_json_lines, read_json_lines
from nas.training.log import TrainingLog


def log_of(path, **options):
    said = []
    return TrainingLog(path, warn=said.append, **options), said


def test_lines_that_cannot_be_written_wait_for_the_next(tmp_path):
    path = tmp_path / "gone" / "metrics.jsonl"
    log, said = log_of(path)
    log.training(1, {"largest": 3.0})
    log.training(2, {"largest": 2.0})
    (message,) = said
    assert message.startswith(f"{path} cannot be written (No such file or directory)")
    path.parent.mkdir()
    log.training(3, {"largest": 1.0})
    assert [line["step"] for line in read_json_lines(path)] == [1, 2, 3]
    log.finish()
    assert len(read_json_lines(path)) == 3


def test_a_log_that_cannot_be_finished_says_so(tmp_path):
    log, _ = log_of(tmp_path / "gone" / "metrics.jsonl")
    log.training(1, {"largest": 3.0})
    with pytest.raises(FileNotFoundError):
        log.finish()


def test_a_line_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append_json_lines(path, [{"step": 1}])
    before = path.read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 4, limit[1]))
    try:
        with pytest.raises(OSError, match=r"No space left|File too large"):
            append_json_lines(path, [{"step": 2}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert path.read_bytes() == before


def test_every_line_is_also_given_to_sinks(tmp_path):
    given = []
    log, _ = log_of(tmp_path / "metrics.jsonl", sinks=(given.append,))
    log.training(1, {"largest": 3.0})
    log.validation(1, {"loss": {"largest": 2.0}, "error": {"largest": 0.5}})
    assert given == read_json_lines(log.path)
