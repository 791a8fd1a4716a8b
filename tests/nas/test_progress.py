"""Progress: a bar on a terminal, plain lines elsewhere."""

import io

import pytest
from rich.console import Console

from nas import progress as module
from nas.progress import progress


def shown(*, terminal, steps, seconds=0.0, monkeypatch=None, note="loss 2"):
    """Returns what is written when each step takes that many seconds."""
    clock = iter(range(10**6))
    if monkeypatch is not None:
        monkeypatch.setattr(module.time, "monotonic", lambda: seconds * next(clock))
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=120)
    with progress(console, "train", steps, "steps") as update:
        for step in range(1, steps + 1):
            update(step, note if step % 2 else "")
    return stream.getvalue()


def test_a_terminal_gets_a_bar():
    text = shown(terminal=True, steps=4)
    assert "train" in text
    assert "4/4" in text
    assert "steps" in text
    # A note stays until there is another.
    assert "loss 2" in [line for line in text.splitlines() if "4/4" in line][-1]
    assert "\x1b[" in text


def test_elsewhere_there_are_plain_lines_without_codes(monkeypatch):
    text = shown(terminal=False, steps=3, seconds=11.0, monkeypatch=monkeypatch)
    assert text.splitlines() == [
        "train: 1/3 steps, 11 s, loss 2",
        "train: 2/3 steps, 22 s",
        "train: 3/3 steps, 33 s, loss 2",
    ]


def test_plain_lines_are_far_apart_and_the_last_is_always_there(monkeypatch):
    text = shown(terminal=False, steps=25, seconds=1.0, monkeypatch=monkeypatch)
    heads = [line.split(" steps")[0] for line in text.splitlines()]
    assert heads == ["train: 10/25", "train: 20/25", "train: 25/25"]
    monkeypatch.undo()
    fast = shown(terminal=False, steps=25)
    assert fast.splitlines() == ["train: 25/25 steps, 0 s, loss 2"]


@pytest.mark.parametrize("terminal", [True, False])
def test_an_error_inside_is_passed_on(terminal):
    def stop():
        with progress(console, "train", 3, "steps") as update:
            update(1)
            raise KeyboardInterrupt

    console = Console(file=io.StringIO(), force_terminal=terminal)
    with pytest.raises(KeyboardInterrupt):
        stop()
