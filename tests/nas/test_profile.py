"""Latency profiles: shared as JSON, refused where they do not belong."""

import dataclasses
import json

import numpy as np
import pytest

from nas.errors import UsageError
from nas.profile import LatencyProfile, Measurement
from nas.rundir import write_json
from search.latency_model import LatencyModel, PredictionError
from supernets.decoder.spec import Decoder
from supernets.roofline import Roofline

MODEL = Decoder(width=(8, 16), heads=(1, 2), ffn=(8, 16), depth=(1, 2), head_dim=4)
SPACE = MODEL.space()
TERMS = MODEL.latency_terms(SPACE.largest[None]).shape[1]


def measurement(gene, latency_ms, role="fit"):
    return Measurement((gene, 0), role, latency_ms, (latency_ms, 2 * latency_ms))


PROFILE = LatencyProfile(
    device="a processor",
    fingerprint="0123456789abcdef",
    batch=1,
    example=(128,),
    measurements=(
        measurement(2, 3.0),
        measurement(0, 1.0),
        measurement(4, 2.0, "held_out"),
        measurement(3, 5.0),
        measurement(1, 2.0),
    ),
    model=LatencyModel((0.5, 0.25, 0.0)),
    error=PredictionError(4.0, 90.0, 0.95),
)


def stored(tmp_path, **changes):
    path = tmp_path / "device.json"
    write_json(path, PROFILE.to_json() | changes)
    return path


def test_a_profile_is_read_back_as_it_was_written(tmp_path):
    drifted = dataclasses.replace(measurement(5, 4.0, "front"), drift=1.25)
    profile = PROFILE.with_front((drifted,))
    write_json(tmp_path / "device.json", profile.to_json())
    assert LatencyProfile.load(tmp_path / "device.json") == profile


def test_a_correlation_that_is_not_defined_survives_too(tmp_path):
    error = {"mape_percent": 1, "within_10_percent": 100.0, "kendall_tau": float("nan")}
    loaded = LatencyProfile.load(stored(tmp_path, error=error))
    assert np.isnan(loaded.error.kendall_tau)
    assert loaded.error.mape_percent == 1.0


def test_measured_values_go_before_predicted_ones():
    genotypes = np.asarray([(1, 0), (9, 0), (4, 0)], np.int32)
    values = PROFILE.measured_or(genotypes, np.asarray([7.0, 8.0, 9.0]))
    assert values.tolist() == [2.0, 8.0, 2.0]


def test_what_a_front_measured_again_counts_last_but_moves_no_constraint():
    genotype = np.asarray([(1, 0)], np.int32)
    profile = PROFILE.with_front((measurement(1, 2.5, "front"),))
    predicted = np.asarray([7.0])
    assert profile.measured_or(genotype, predicted).tolist() == [2.5]
    assert profile.before_front() == PROFILE
    assert profile.before_front().measured_or(genotype, predicted).tolist() == [2.0]


def member(genotype, latency_ms, role="member"):
    return Measurement(tuple(genotype.tolist()), role, latency_ms, (latency_ms,))


TABLE = dataclasses.replace(
    PROFILE,
    measurements=(member(SPACE.smallest, 1.0), member(SPACE.largest, 3.0)),
    model=None,
    error=None,
    kind="table",
)
"""Of two members."""


def test_without_a_model_what_was_measured_is_the_prediction(tmp_path):
    genotypes = np.stack([SPACE.largest, SPACE.smallest, SPACE.largest])
    # What a front measured again changes no prediction, as it changes no model.
    profile = TABLE.with_front((member(SPACE.largest, 4.0, "front"),))
    write_json(tmp_path / "device.json", profile.to_json())
    loaded = LatencyProfile.load(tmp_path / "device.json")
    assert loaded == profile
    assert loaded.predict(genotypes, MODEL).tolist() == [3.0, 1.0, 3.0]
    assert [anchor.latency_ms for anchor in loaded.anchors(2)] == [1.0, 3.0]


def test_with_a_model_predictions_are_its_own():
    # A constant, and half a millisecond for each unit of width.
    model = LatencyModel((1.0, 0.5, *[0.0] * (TERMS - 2)))
    profile = dataclasses.replace(PROFILE, model=model)
    genotypes = np.stack([SPACE.smallest, SPACE.largest])
    assert profile.predict(genotypes, MODEL).tolist() == [5.0, 9.0]


def test_a_model_of_other_terms_is_told_with_its_device():
    message = "the latency profile of a processor: the latency model has 3 terms"
    with pytest.raises(UsageError, match=message):
        PROFILE.predict(SPACE.largest[None], MODEL)


def test_a_sheet_prices_every_member_on_the_input_of_the_profile(tmp_path):
    sheet = Roofline(flops_per_s=1e9, bytes_per_s=1e8, overhead_ms=0.5)
    profile = dataclasses.replace(
        PROFILE, measurements=(), model=sheet, error=None, kind="roofline"
    )
    write_json(tmp_path / "device.json", profile.to_json())
    loaded = LatencyProfile.load(tmp_path / "device.json")
    assert loaded == profile
    genotypes = SPACE.enumerate()
    cost = MODEL.cost(genotypes, batch=1, example=(128,))
    assert (loaded.predict(genotypes, MODEL) == sheet.predict(cost)).all()


def test_a_member_that_a_table_does_not_hold_is_told():
    message = (
        r"no model, and no entry for \{\"layers\": .* with 2 entries it must .*bench"
    )
    with pytest.raises(UsageError, match=message):
        TABLE.predict(SPACE.enumerate(), MODEL)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "held-out error 4.0%, 90% within 10%, tau 0.95"),
        ({"kind": "table"}, "table of 5 subnets, held-out error 4.0%, 90% within 10%"),
        ({"kind": "table", "error": None}, "table of 5 subnets, which alone have a"),
        ({"kind": "measured", "error": None}, "every member was measured, 5 subnets"),
        ({"kind": "roofline", "error": None}, "roofline, not measured: its error is"),
    ],
)
def test_a_profile_says_what_it_rests_on_and_its_error(changes, told):
    assert dataclasses.replace(PROFILE, **changes).in_words().startswith(told)


@pytest.mark.parametrize(
    ("profile", "kind"), [(PROFILE, "predicted"), (TABLE, "measured")]
)
def test_a_profile_from_before_there_were_kinds_is_still_read(tmp_path, profile, kind):
    fields = profile.to_json()
    del fields["kind"]
    write_json(tmp_path / "device.json", fields)
    loaded = LatencyProfile.load(tmp_path / "device.json")
    assert loaded == dataclasses.replace(profile, kind=kind)


@pytest.mark.parametrize(
    ("count", "latencies"),
    [
        (1, [1.0]),
        (2, [1.0, 5.0]),
        (3, [1.0, 3.0, 5.0]),
        (4, [1.0, 2.0, 3.0, 5.0]),
        (99, [1.0, 2.0, 3.0, 5.0]),
    ],
)
def test_anchors_are_of_the_fit_from_the_fastest_to_the_slowest(count, latencies):
    assert [anchor.latency_ms for anchor in PROFILE.anchors(count)] == latencies


def test_a_profile_without_a_fit_has_no_anchors():
    assert dataclasses.replace(PROFILE, measurements=()).anchors(4) == ()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"fingerprint": "f" * 16}, "this run has space ffffffffffffffff"),
        ({"batch": 2}, "with an input of 2 x 128 tokens"),
        ({"example": (64,)}, "with an input of 1 x 64 tokens"),
        ({"example": (8, 8, 1)}, "with an input of 1 image of 8 x 8 x 1"),
    ],
)
def test_a_profile_of_another_space_or_input_is_refused_with_both(changes, told):
    own = {"fingerprint": PROFILE.fingerprint, "batch": 1, "example": (128,)}
    PROFILE.require(**own)
    message = r"of space 0123456789abcdef with an input of 1 x 128 tokens, .*nas bench"
    with pytest.raises(UsageError, match=message) as caught:
        PROFILE.require(**(own | changes))
    assert told in str(caught.value)


def entry(**changes):
    return dataclasses.asdict(PROFILE.measurements[0]) | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": "1"}, "TypeError: expected an integer, got '1'"),
        ({"example": [1.5]}, "TypeError: expected an integer, got 1.5"),
        ({"example": 128}, "TypeError: expected a list, got 128"),
        ({"measurements": {}}, r"TypeError: expected a list, got \{\}"),
        ({"measurements": [3]}, "TypeError: expected an object, got 3"),
        ({"measurements": [entry(role="best")]}, "ValueError: role 'best' is unknown"),
        ({"measurements": [entry(genotype=["a"])]}, "expected an integer, got 'a'"),
        ({"measurements": [entry(latency_ms=None)]}, "expected a number, got None"),
        ({"model": {}}, "KeyError: 'weights'"),
        ({"model": {"weights": ["x"]}}, "expected a number, got 'x'"),
        ({"error": {"mape": 1.0}}, "TypeError: .*'mape"),
        ({"kind": "guessed"}, "ValueError: kind 'guessed' is unknown; there are"),
        ({"model": {"flops_per_s": 1.0}}, "TypeError: .*bytes_per_s"),
        (
            {"model": {"flops_per_s": 0.0, "bytes_per_s": 1.0}},
            "ValueError: flops_per_s must be positive",
        ),
    ],
)
def test_a_damaged_field_is_told(tmp_path, changes, message):
    path = stored(tmp_path, **changes)
    told = rf"device\.json is not a latency profile \(.*{message}.*\); `nas bench lat"
    with pytest.raises(UsageError, match=told):
        LatencyProfile.load(path)


def test_a_missing_field_is_told(tmp_path):
    path = stored(tmp_path)
    fields = json.loads(path.read_text())
    del fields["device"]
    path.write_text(json.dumps(fields))
    with pytest.raises(
        UsageError, match=r"\(KeyError: 'device'\); `nas bench latency` writes"
    ):
        LatencyProfile.load(path)


def test_files_that_are_no_profile_are_told(tmp_path):
    message = "is not a latency profile .*{}.*; `nas bench latency` writes one"
    with pytest.raises(UsageError, match=message.format("missing")):
        LatencyProfile.load(tmp_path / "absent.json")
    with pytest.raises(UsageError, match=message.format("directory")):
        LatencyProfile.load(tmp_path)
    path = tmp_path / "torn.json"
    for content in (b"", b'{"device": ', b"[]", b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=message.format(r"torn\.json")):
            LatencyProfile.load(path)
