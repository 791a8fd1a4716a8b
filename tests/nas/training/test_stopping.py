"""A signal ends a training between two steps, not within one."""

import os
import signal

import pytest

from nas.training.stopping import Stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_remembered_and_told(number):
    said = []
    with Stopping(said.append).watching() as stopping:
        assert stopping.signal is None
        os.kill(os.getpid(), number)
        assert stopping.signal == number
    (message,) = said
    assert message.startswith(f"{number.name}: saving and stopping after this step")
    assert ("again stops at once" in message) == (number == signal.SIGINT)


def test_a_second_interrupt_stops_at_once():
    with Stopping(lambda _: None).watching():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_termination_can_be_asked_for_twice():
    said = []
    with Stopping(said.append).watching() as stopping:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        assert stopping.signal == signal.SIGTERM
    assert len(said) == 1


def test_signals_mean_afterwards_what_they_meant_before():
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    with Stopping(pytest.fail).watching():
        pass
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before
