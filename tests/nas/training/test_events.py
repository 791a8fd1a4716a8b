"""Events for TensorBoard say what the training log says."""

import pytest

from nas.training.events import EventWriter


def test_every_number_of_a_line_is_an_event(tmp_path):
    events = pytest.importorskip("tensorboardX.proto.event_pb2")
    writer = EventWriter(tmp_path)
    writer({"step": 7, "training": {"largest": 2.5, "sampled": 3.0}})
    writer(
        {"step": 8, "validation": {"smallest": 4.0}, "scores": {"error": {"a": 0.5}}}
    )
    writer.close()
    (file,) = tmp_path.iterdir()
    found = {}
    for record in records(file.read_bytes()):
        event = events.Event.FromString(record)
        for value in event.summary.value:
            found[value.tag, event.step] = value.simple_value
    assert found == {
        ("training/largest", 7): 2.5,
        ("training/sampled", 7): 3.0,
        ("validation/smallest", 8): 4.0,
        ("scores/error/a", 8): 0.5,
    }


def records(content):
    """Yields what an event file holds: length, checksum, record, checksum."""
    while content:
        length = int.from_bytes(content[:8], "little")
        yield content[12 : 12 + length]
        content = content[16 + length :]
