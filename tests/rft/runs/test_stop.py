"""The first signal, or an alarm, asks; the next one ends."""

import os
import signal
import threading

import pytest

from rft.runs.stop import StopSignal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_asks_and_second_ends(number: signal.Signals) -> None:
    notes: list[str] = []
    told = threading.Event()

    def note(text: str) -> None:
        notes.append(text)
        told.set()

    before = signal.getsignal(number)
    with StopSignal(note) as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert told.wait(5)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before
    assert len(notes) == 1


def test_an_alarm_asks_as_a_signal_does() -> None:
    notes: list[str] = []
    stop = StopSignal(notes.append)
    assert not stop()
    stop.after_alarm("truncation")
    assert stop()
    assert stop.by_alarm
    assert notes == ["alarm truncation: stopping at the next safe point, with a checkpoint"]
