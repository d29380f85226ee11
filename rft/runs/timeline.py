"""What ran when: a file for trace viewers, and a picture of the last steps.

The file is in the trace event format's array form, without its closing bracket, which viewers such as Perfetto and
chrome://tracing allow, so that steps can be added as they end.
"""

import html
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rft.errors import CheckpointError
from rft.runs.curves import COLOURS
from rft.runs.metrics import PhaseSpan
from rft.runs.run_dir import writing

LANES = ("rollout", "learner")
"""Rows of the timeline; what stands in one lane never overlaps in time."""

WIDTH, LANE_HEIGHT, LEFT = 1040, 26, 64


@dataclass(frozen=True, slots=True)
class Event:
    """A phase of a step."""

    step: int
    lane: str
    name: str
    start_s: float
    end_s: float


class TimelineWriter:
    """Adds phases to a trace file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._epoch_s = time.time() - time.perf_counter()

    def write(self, step: int, lane: str, spans: Iterable[PhaseSpan]) -> None:
        """Raises CheckpointError where the disk refuses."""
        lines = [self._line(step, lane, span) for span in spans]
        if not lines:
            return
        with writing(self._path), self._path.open("a", encoding="utf-8") as file:
            if file.tell() == 0:
                lines = ["[", *(_lane_name(number, name) for number, name in enumerate(LANES)), *lines]
            file.write("".join(f"{line}\n" for line in lines))

    def _line(self, step: int, lane: str, span: PhaseSpan) -> str:
        event = {
            "name": span.name,
            "ph": "X",
            "ts": round((span.start_s + self._epoch_s) * 1e6),
            "dur": round((span.end_s - span.start_s) * 1e6),
            "pid": 0,
            "tid": LANES.index(lane),
            "args": {"step": step},
        }
        return json.dumps(event) + ","


def _lane_name(number: int, name: str) -> str:
    return json.dumps({"name": "thread_name", "ph": "M", "pid": 0, "tid": number, "args": {"name": name}}) + ","


def read_timeline(path: Path) -> tuple[Event, ...]:
    """The phases in a trace file, as written; () where there is none. CheckpointError: not such a file."""
    if not path.exists():
        return ()
    try:
        # A line that a killed run left unfinished has no comma at its end.
        lines = [line[:-1] for line in path.read_text(encoding="utf-8").splitlines() if line.endswith(",")]
        found = [json.loads(line) for line in lines]
    except ValueError as error:
        raise CheckpointError(f"{path}: not a trace file ({error}). Delete it; nothing else needs it.") from error
    return tuple(
        Event(e["args"]["step"], LANES[e["tid"]], e["name"], e["ts"] / 1e6, (e["ts"] + e["dur"]) / 1e6)
        for e in found
        if e["ph"] == "X"
    )


def svg_timeline(events: Sequence[Event], num_steps: int = 3) -> str:
    """The last steps as a picture, a lane each for rollouts and learner; "" without events."""
    last = max((event.step for event in events), default=0)
    shown = [event for event in events if event.step > last - num_steps]
    if not shown:
        return ""
    start_s, end_s = min(e.start_s for e in shown), max(e.end_s for e in shown)
    scale = (WIDTH - LEFT) / max(end_s - start_s, 1e-9)
    names = list(dict.fromkeys(event.name for event in shown))
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}
    lanes = "".join(
        f'<text x="0" y="{row * LANE_HEIGHT + 17}" font-size="12">{lane}</text>' for row, lane in enumerate(LANES)
    )
    bars = "".join(
        f'<rect x="{LEFT + (e.start_s - start_s) * scale:.1f}" y="{LANES.index(e.lane) * LANE_HEIGHT + 4}" '
        f'width="{max(0.5, (e.end_s - e.start_s) * scale):.1f}" height="{LANE_HEIGHT - 8}" fill="{colours[e.name]}">'
        f"<title>step {e.step}, {html.escape(e.name)}: {e.end_s - e.start_s:.3f} s</title></rect>"
        for e in shown
    )
    legend = "".join(f' <span style="color:{colours[name]}">&#9632; {html.escape(name)}</span>' for name in names)
    height = LANE_HEIGHT * len(LANES)
    return (
        f"<figure><figcaption>the last {min(num_steps, last)} steps, {end_s - start_s:.2f} s{legend}</figcaption>"
        f'<svg width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img">{lanes}{bars}</svg></figure>'
    )
