"""The first signal asks, the second ends."""

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
