"""Seconds of the phases of a step."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PhaseSpan:
    """When a phase ran, on the clock that all processes of a machine share."""

    name: str
    start_s: float
    end_s: float


class Clock:
    """Seconds by phase. A phase inside another is taken out of the outer one, so that the sum is the time spent."""

    def __init__(self, seconds: Mapping[str, float] | None = None, now: Callable[[], float] = time.perf_counter):
        """`seconds`: what to continue from, such as the totals of a resumed run."""
        self.seconds: dict[str, float] = dict(seconds or {})
        self.spans: list[PhaseSpan] = []
        """Every phase that has ended, in the order they ended."""
        self._now = now
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self._account()
        self._open.append(name)
        start_s = self._since
        try:
            yield
        finally:
            self._account()
            self._open.pop()
            self.spans.append(PhaseSpan(name, start_s, self._since))

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add what another clock counted."""
        for name, more in seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + more

    def metrics(self) -> dict[str, float]:
        """The seconds as metrics, by name."""
        return {f"seconds/{name}": seconds for name, seconds in self.seconds.items()}

    def _account(self) -> None:
        """Give the time since the last change to the innermost open phase."""
        now = self._now()
        if self._open:
            self.add({self._open[-1]: now - self._since})
        self._since = now
