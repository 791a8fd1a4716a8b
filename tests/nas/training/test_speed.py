"""The speedometer counts what was learnt from between steps, not what compiles."""

from nas.data.digits import Digits
from nas.data.text import StdlibText
from nas.training import speed
from nas.training.speed import Speedometer


def test_tokens_and_images_are_counted(monkeypatch):
    now = iter([0.0, 2.0, 4.0, 100.0, 102.0])
    monkeypatch.setattr(speed.time, "monotonic", lambda: next(now))
    meter = Speedometer(StdlibText(tokens=16))
    assert str(meter) == ""
    meter.step(8)
    assert meter.rate == 0
    meter.step(8)
    assert meter.rate == 8 * 16 / 2
    meter.step(8)
    assert meter.rate == 64
    # What lies between is not training.
    meter.restart()
    meter.step(8)
    meter.step(8)
    assert str(meter) == "64 tokens/s"
    assert Speedometer(Digits()).unit == "images"
