import json
from pathlib import Path

import pytest

from rft.clock import PhaseSpan
from rft.errors import CheckpointError
from rft.runs.timeline import TimelineWriter, read_timeline


def test_what_is_written_is_read_back_and_is_trace_event_json(tmp_path: Path) -> None:
    path = tmp_path / "timeline.json"
    assert read_timeline(path) == ()
    writer = TimelineWriter(path)
    writer.write(1, "rollout", [PhaseSpan("data", 10.0, 10.5), PhaseSpan("rollout", 10.5, 12.0)])
    writer.write(1, "learner", [PhaseSpan("update", 12.0, 13.0)])
    writer.write(2, "learner", [])
    events = read_timeline(path)
    assert [(e.step, e.lane, e.name) for e in events] == [
        (1, "rollout", "data"),
        (1, "rollout", "rollout"),
        (1, "learner", "update"),
    ]
    assert [round(e.end_s - e.start_s, 6) for e in events] == [0.5, 1.5, 1.0]
    assert events[2].start_s - events[0].start_s == pytest.approx(2.0)
    trace = json.loads(path.read_text().rstrip(",\n") + "]")
    assert [event["ph"] for event in trace] == ["M", "M", "X", "X", "X"]


def test_a_run_that_goes_on_adds_to_the_file_and_a_half_line_is_no_event(tmp_path: Path) -> None:
    path = tmp_path / "timeline.json"
    TimelineWriter(path).write(1, "learner", [PhaseSpan("update", 0.0, 1.0)])
    with path.open("a") as file:
        file.write('{"name": "upd')
    assert len(read_timeline(path)) == 1
    path.write_text("no trace,\n")
    with pytest.raises(CheckpointError, match="Delete it"):
        read_timeline(path)
