"""Ctrl-C, SIGTERM and alarms: a run is asked to stop before it is stopped."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self


class StopSignal:
    """True once the user, or an alarm, asked to stop. A signal after that ends the run at once."""

    def __init__(self, note: Callable[[str], None]) -> None:
        """`note` tells the user what happens."""
        self._note = note
        self._asked = False
        self.by_alarm = False
        """Whether an alarm asked."""
        self._before: dict[signal.Signals, Any] = {}

    def __call__(self) -> bool:
        return self._asked

    def after_alarm(self, title: str) -> None:
        """Stop at the next safe point, as after a signal."""
        self._asked = self.by_alarm = True
        self._note(f"alarm {title}: stopping at the next safe point, with a checkpoint")

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        # From a thread, because a signal may arrive in the middle of a line that is being printed.
        text = "stopping at the next safe point, with a checkpoint; once more to stop at once"
        threading.Thread(target=self._note, args=(text,)).start()
