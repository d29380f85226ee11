"""What ran when: a file for trace viewers.

The file is in the trace event format's array form, without its closing bracket, which viewers such as Perfetto and
chrome://tracing allow, so that steps can be added as they end.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rft.clock import PhaseSpan
from rft.errors import CheckpointError
from rft.files import writing

LANES = ("rollout", "learner")
"""Rows of the timeline; what stands in one lane never overlaps in time."""


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
        events = [json.loads(line) for line in lines]
    except ValueError as error:
        raise CheckpointError(f"{path}: not a trace file ({error}). Delete it; nothing else needs it.") from error
    return tuple(
        Event(e["args"]["step"], LANES[e["tid"]], e["name"], e["ts"] / 1e6, (e["ts"] + e["dur"]) / 1e6)
        for e in events
        if e["ph"] == "X"
    )
