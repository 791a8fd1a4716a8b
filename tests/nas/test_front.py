"""Fronts and landmarks, read back."""

import json

import pytest

from nas.api import load_run
from nas.errors import UsageError
from nas.experiment import Experiment, Search
from nas.front import cheapest_first, costs_of, load_front, load_landmarks
from supernets.decoder.spec import Decoder

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


@pytest.mark.parametrize(
    ("objectives", "costs"),
    [
        (("loss", "latency_ms"), ("latency_ms",)),
        (("loss", "size_mb", "latency_ms"), ("size_mb", "latency_ms")),
        (("bops", "error"), ("bops",)),
        (("loss", "latency_ms_phone"), ("latency_ms_phone",)),
        (("loss", "energy_mj"), ("energy_mj",)),
        (("loss",), ("latency_ms",)),
    ],
)
def test_a_front_is_drawn_against_objectives_that_need_no_evaluation(objectives, costs):
    search = Search(objectives=objectives, metrics=("mypackage.costs:energy_mj",))
    sizes = {"width": (8, 16), "heads": (1,), "ffn": (8,), "depth": (1, 2)}
    experiment = Experiment(model=Decoder(**sizes, head_dim=4), search=search)
    assert costs_of(experiment) == costs


def test_the_cheapest_come_first_and_the_unknown_last(tmp_path):
    sizes = ({"size_mb": 2.0, "latency_ms": 1.0}, {"latency_ms": 0.5}, {"size_mb": 1.0})
    (tmp_path / "front.json").write_text(
        json.dumps([ENTRY | {"metrics": metrics} for metrics in sizes])
    )
    ordered = cheapest_first(load_front(tmp_path / "front.json"), "size_mb")
    assert [member.metrics for member in ordered] == [sizes[2], sizes[0], sizes[1]]


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
