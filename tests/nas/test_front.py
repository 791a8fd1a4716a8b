"""Fronts and landmarks, read back."""

import json

import pytest

from nas.api import load_run
from nas.errors import UsageError
from nas.front import load_front, load_landmarks

ARCH = {"layers": [0, 2], "width": 64, "ffn": [128, 256]}
ENTRY = {
    "arch": ARCH,
    "metrics": {"loss": 2.5, "latency_ms": 1.5},
    "predicted": {"latency_ms": 1.4},
    "why": "fastest of the front",
}
LANDMARKS = {
    label: {"arch": ARCH, "metrics": {"loss": 3.0}, "measured": label == "largest"}
    for label in ("largest", "middle", "smallest")
}


def test_a_run_gives_its_front(tmp_path):
    (tmp_path / "front.json").write_text(json.dumps([ENTRY]))
    result = load_run(str(tmp_path))
    (member,) = result.front
    assert result.path == tmp_path
    assert member.arch.to_json() == ARCH
    assert member.arch["depth"] == 2
    assert (member.metrics, member.predicted) == (ENTRY["metrics"], ENTRY["predicted"])
    assert member.why == "fastest of the front"
    assert member.id == member.arch.id
    with pytest.raises(UsageError, match=rf"subnets/{member.id} holds no exported"):
        result.load(member)


@pytest.mark.parametrize(
    ("predicted", "misses"),
    [
        ({"latency_ms": 1.64}, {}),
        ({"latency_ms": 1.8}, {"latency_ms": pytest.approx(0.2)}),
        ({"latency_ms": 1.2}, {"latency_ms": pytest.approx(-0.2)}),
        ({"latency_ms_phone": 3.0}, {}),
        ({}, {}),
    ],
)
def test_predictions_that_were_off_are_told(tmp_path, predicted, misses):
    (tmp_path / "front.json").write_text(json.dumps([ENTRY | {"predicted": predicted}]))
    (member,) = load_front(tmp_path / "front.json")
    assert member.misses == misses


def test_landmarks_come_smallest_first(tmp_path):
    path = tmp_path / "landmarks.json"
    path.write_text(json.dumps(LANDMARKS))
    landmarks = load_landmarks(path)
    assert [mark.label for mark in landmarks] == ["smallest", "middle", "largest"]
    assert [mark.measured for mark in landmarks] == [False, False, True]
    assert landmarks[0].arch.to_json() == ARCH


@pytest.mark.parametrize(
    "content",
    [
        "",
        '[{"arch": ',
        "3",
        "[3]",
        "[{}]",
        json.dumps([ENTRY | {"arch": {"layers": []}}]),
        json.dumps({name: LANDMARKS[name] for name in ("largest", "smallest")}),
    ],
)
@pytest.mark.parametrize("load", [load_front, load_landmarks])
def test_damaged_files_are_named(tmp_path, load, content):
    (tmp_path / "stored.json").write_text(content)
    with pytest.raises(UsageError, match=r"stored\.json is damaged \("):
        load(tmp_path / "stored.json")


def test_a_run_that_was_not_searched_is_told_so(tmp_path):
    with pytest.raises(UsageError, match=r"front\.json is missing: search this run"):
        load_run(tmp_path)
