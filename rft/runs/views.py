"""What a person sees while a run goes on: a live view in a terminal, plain lines elsewhere."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Protocol, TextIO

from rft.runs.alarms import Alarm
from rft.runs.rich_view import TerminalView, clock_text, numbers
from rft.tables import LineChart, TextTable, chart_table, plain

LINE_EVERY_S = 5.0
"""Least seconds between two lines of the plain view about one thing."""


class View(Protocol):
    """Where a run reports how it goes."""

    def phase(self, name: str, total: int | None = None) -> None:
        """A phase begins and the one before ends; `total`: how many `advance`s are ahead, where known."""
        ...

    def advance(self, n: int = 1) -> None:
        """`n` more units of the phase are done."""
        ...

    def step(self, step: int, total_steps: int, metrics: Mapping[str, float]) -> None:
        """GRPO step `step` (from 1) is done. `metrics`: names of rft/runs/metrics.py."""
        ...

    def evaluated(self, values: Mapping[str, float]) -> None:
        """Held-out values: the names `eval/<task>` are shown, others passed over."""
        ...

    def note(self, text: str) -> None:
        """Something a person should know, such as a damaged clip."""
        ...

    def alarm(self, alarm: Alarm) -> None:
        """An alarm fired: a note that stays in sight."""
        ...

    def table(self, table: TextTable) -> None: ...

    def chart(self, chart: LineChart) -> None:
        """A picture where the terminal can show one, else its figures."""
        ...

    def close(self) -> None:
        """Ends the last phase and gives the terminal back; may be called twice."""
        ...


def open_view(title: str, stream: TextIO | None = None) -> View:
    """The live view where `stream` (default: standard output) is a terminal that can be redrawn, else plain lines."""
    stream = stream or sys.stdout
    if stream.isatty() and os.environ.get("TERM") != "dumb":
        return TerminalView(title, stream)
    return PlainView(title, stream)


class PlainView:
    """Single lines for pipes and logs: phases begin and end, steps as they come but not in a flood."""

    def __init__(self, title: str, stream: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._now = now
        self._name = ""
        self._announced = False
        self._total: int | None = None
        self._done = 0
        self._began = self._last_line = now()
        self._last_step_line = -LINE_EVERY_S
        self._steps_began: float | None = None
        self._first_step = 0
        self._in_this_step: set[str] = set()
        self._in_last_step: set[str] = set()
        self._line(title)

    def phase(self, name: str, total: int | None = None) -> None:
        """Phases that every step repeats are told of once; after that only where they take long."""
        self._end_phase()
        self._name, self._total, self._done = name, total, 0
        self._began = self._last_line = self._now()
        self._announced = name not in self._in_last_step | self._in_this_step
        self._in_this_step.add(name)
        if self._announced:
            self._line(f"{name}{f' ({total})' if total else ''} ...")

    def advance(self, n: int = 1) -> None:
        self._done += n
        now = self._now()
        if now - self._last_line >= LINE_EVERY_S and self._done != self._total:
            self._last_line = now
            left = ""
            if self._total and self._done:
                left = f", {clock_text((now - self._began) / self._done * (self._total - self._done))} left"
            self._line(f"{self._name} {self._done}{f'/{self._total}' if self._total else ''}{left}")

    def step(self, step: int, total_steps: int, metrics: Mapping[str, float]) -> None:
        now = self._now()
        self._end_phase()
        self._in_last_step, self._in_this_step = self._in_this_step, set()
        left = ""
        if self._steps_began is None or step <= self._first_step:  # the first one, also of a learner started again
            # The first step's time is not known from here: the phases before it count in the same stretch.
            self._steps_began, self._first_step = now, step
        else:
            each = (now - self._steps_began) / (step - self._first_step)
            left = f", {clock_text(each * (total_steps - step))} left"
        if now - self._last_step_line >= LINE_EVERY_S or step == total_steps:
            self._last_step_line = now
            self._line(f"step {step}/{total_steps}: {numbers(metrics)}{left}")

    def evaluated(self, values: Mapping[str, float]) -> None:
        self._end_phase()
        shown = {k.removeprefix("eval/"): v for k, v in values.items() if k.count("/") == 1 and k.startswith("eval/")}
        self._line("held-out: " + ", ".join(f"{task} {value:.3f}" for task, value in shown.items()))

    def note(self, text: str) -> None:
        self._line(f"note: {text}")

    def alarm(self, alarm: Alarm) -> None:
        self._line(f"alarm: {alarm}")

    def table(self, table: TextTable) -> None:
        self._end_phase()
        self._line("\n" + plain(table) + "\n")

    def chart(self, chart: LineChart) -> None:
        self.table(chart_table(chart))

    def close(self) -> None:
        self._end_phase()

    def _end_phase(self) -> None:
        if self._name and self._announced:
            count = f" {self._done}{f'/{self._total}' if self._total else ''}" if self._done else ""
            self._line(f"{self._name}{count} done in {clock_text(self._now() - self._began)}")
        self._name = ""

    def _line(self, text: str) -> None:
        print(text, file=self._stream, flush=True)
