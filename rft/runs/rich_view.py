"""The live view of a run in a terminal, drawn with rich."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rft.runs.terminal_chart import draw_chart
from rft.tables import chart_table

if TYPE_CHECKING:
    from rft.runs.alarms import Alarm
    from rft.tables import LineChart, TextTable

BLOCKS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
ASCII_BLOCKS = "_.-=+*#@"
"""For terminals that show ASCII only."""

TREND_WIDTH = 24
CHART_WIDTH = 100
STEPS_FOR_PACE = 10
"""Last steps that the time left is reckoned from."""

NUMBERS = {
    "reward": "reward",
    "loss": "loss",
    "entropy": "entropy",
    "logprob_gap": "gap",
    "kl": "kl",
    "clip_share": "clipped",
    "grad_norm": "grad norm",
    "completion_tokens": "tokens",
    "truncated_share": "truncated",
    "failed_share": "failed",
    "num_zero_std_groups": "no signal",
}
"""Metric -> how the views call it, in the order they show it; one that a run does not report is left out."""


class TerminalView:
    """Redraws one block at the bottom of the terminal; notes and tables scroll by above it."""

    def __init__(
        self, title: str, stream: TextIO, now: Callable[[], float] = time.monotonic, width: int | None = None
    ) -> None:
        self._title = title
        self._now = now
        self._began = now()
        self._changing = threading.RLock()  # rich draws from a thread of its own
        self._phase: tuple[str, int | None, float] = ("starting", None, now())
        self._done = 0
        self._steps = (0, 0)
        self._step_ends: deque[tuple[int, float]] = deque(maxlen=STEPS_FOR_PACE + 1)
        self._metrics: dict[str, float] = {}
        self._trends: dict[str, list[float]] = {}
        self._seconds: dict[str, float] = {}
        self._alarms: list[str] = []
        self._console = Console(file=stream, width=width)
        self._blocks = BLOCKS if self._console.encoding.startswith("utf") else ASCII_BLOCKS
        self._live = Live(console=self._console, get_renderable=self.render, refresh_per_second=4)
        self._live.start()

    def phase(self, name: str, total: int | None = None) -> None:
        with self._changing:
            self._phase, self._done = (name, total, self._now()), 0

    def advance(self, n: int = 1) -> None:
        with self._changing:
            self._done += n

    def step(self, step: int, total_steps: int, metrics: Mapping[str, float]) -> None:
        with self._changing:
            if step <= self._steps[0]:  # a learner that was started again
                self._step_ends.clear()
            self._steps = (step, total_steps)
            self._step_ends.append((step, self._now()))
            self._metrics = dict(metrics)
            for name, value in metrics.items():
                if name == "reward" or name.startswith("reward/"):
                    self._trends.setdefault(name, []).append(value)
                elif name.startswith("seconds/"):
                    phase = name.removeprefix("seconds/")
                    self._seconds[phase] = self._seconds.get(phase, 0.0) + value

    def evaluated(self, values: Mapping[str, float]) -> None:
        with self._changing:
            for name, value in values.items():
                if name.startswith("eval/") and name.count("/") == 1:
                    self._trends.setdefault(name, []).append(value)

    def note(self, text: str) -> None:
        self._console.print(Text(f"note: {text}", style="yellow"))

    def alarm(self, alarm: "Alarm") -> None:
        self._console.print(Text(f"alarm: {alarm}", style="red"))
        with self._changing:
            self._alarms.append(f"{alarm.title} at step {alarm.step}")

    def table(self, table: "TextTable") -> None:
        drawn = Table(title=table.title, caption=table.caption or None, title_justify="left", caption_justify="left")
        for column in table.columns:
            drawn.add_column(column)
        for row in table.rows:
            drawn.add_row(*map(Text, row))
        self._console.print(drawn)

    def chart(self, chart: "LineChart") -> None:
        if self._blocks == ASCII_BLOCKS:
            self.table(chart_table(chart))
        else:
            self._console.print(Text.from_ansi(draw_chart(chart, min(self._console.width, CHART_WIDTH))))

    def close(self) -> None:
        with self._changing:
            self._phase = ("", None, self._now())
        self._live.stop()

    def render(self) -> RenderableType:
        """The block as it stands now."""
        with self._changing:
            parts: list[RenderableType] = [self._head()]
            if self._phase[0]:
                parts.append(self._progress())
            if self._alarms:
                parts.append(Text(f"  alarms: {'; '.join(self._alarms)}", style="red"))
            shown = numbers(self._metrics)
            if shown:
                parts.append(Text(f"  {shown}"))
            if self._trends:
                parts.append(self._trend_table())
            if self._seconds:
                spent = ", ".join(f"{name} {clock_text(s)}" for name, s in self._seconds.items())
                parts.append(Text(f"  time in {spent}", style="dim"))
            return Group(*parts)

    def time_left_s(self) -> float | None:
        """Seconds until the last step at the pace of the last ones; None before two steps are done."""
        if len(self._step_ends) < 2:
            return None
        (first, began), (last, ended) = self._step_ends[0], self._step_ends[-1]
        return (ended - began) / max(last - first, 1) * (self._steps[1] - last)

    def _head(self) -> Text:
        left = self.time_left_s()
        step, total = self._steps
        parts = [self._title]
        if total:
            parts.append(f"step {step}/{total}")
        parts.append(f"{clock_text(self._now() - self._began)} so far")
        if left is not None and step < total:
            parts.append(f"about {clock_text(left)} of training left")
        return Text("  |  ".join(parts), style="bold", no_wrap=True, overflow="ellipsis")

    def _progress(self) -> Table:
        name, total, began = self._phase
        line = Table.grid(padding=(0, 1))
        spent = self._now() - began
        cells: list[RenderableType] = [Text(f"  {name}", style="cyan")]
        if total:
            cells.append(ProgressBar(total=total, completed=min(self._done, total), width=TREND_WIDTH))
            cells.append(Text(f"{self._done}/{total}"))
            if 0 < self._done < total:
                cells.append(Text(f"{clock_text(spent / self._done * (total - self._done))} left"))
        elif self._done:
            cells.append(Text(str(self._done)))
        cells.append(Text(clock_text(spent), style="dim"))
        line.add_row(*cells)
        return line

    def _trend_table(self) -> Table:
        lines = Table.grid(padding=(0, 2))
        for name, values in sorted(self._trends.items(), key=lambda item: trend_order(item[0])):
            change = f"{values[0]:.3f} -> {values[-1]:.3f}"
            lines.add_row(f"  {trend_label(name)}", Text(sparkline(values, self._blocks), style="green"), change)
        return lines


def trend_order(name: str) -> tuple[bool, bool, str]:
    """The overall reward, the tasks' rewards, the held-out values."""
    return name.startswith("eval/"), name != "reward", name


def trend_label(name: str) -> str:
    if name.startswith("eval/"):
        return f"held-out {name.removeprefix('eval/')}"
    return name.replace("/", " ")


def sparkline(values: Sequence[float], blocks: str = BLOCKS, width: int = TREND_WIDTH) -> str:
    """The course of `values`, low to high, in at most `width` characters: each the mean of an equal stretch."""
    known = [v for v in values if v == v]
    if not known:
        return ""
    columns = min(width, len(known))
    edges = [len(known) * i // columns for i in range(columns + 1)]
    means = [sum(known[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    if high == low:
        return blocks[len(blocks) // 2] * columns
    return "".join(blocks[round((mean - low) / (high - low) * (len(blocks) - 1))] for mean in means)


def numbers(metrics: Mapping[str, float]) -> str:
    """The metrics that a person follows, as "reward 0.512, entropy 0.410"."""
    return ", ".join(f"{label} {metrics[name]:.3g}" for name, label in NUMBERS.items() if name in metrics)


def clock_text(seconds: float) -> str:
    """4.2 s, 1:05 or 2:03:09."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
