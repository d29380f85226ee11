"""Anomalies of published rows, and which of them cannot be rows."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from rft.data.convert.source import Anomaly
from rft.data.row import read_row
from rft.tasks import TASKS
from rft.tasks.types import Row


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of anomaly."""

    meaning: str
    done: str
    """What happens to such a row."""
    is_fatal: bool = False
    """Whether it cannot be a row: it is dropped or refused then."""


KINDS = {
    "past_end": Kind("span ends past the stated length", "kept as published"),
    "past_end_1s": Kind("of these, by more than 1 s", "kept as published"),
    "start_past_end": Kind("span starts past the stated length", "kept as published"),
    "early_start": Kind("span starts before 0", "kept as published"),
    "overlapping": Kind("spans of one row overlap or touch", "kept; judged as their union"),
    "duplicate": Kind("says what an earlier row says", "kept"),
    "blanks": Kind("blanks around a text", "taken off"),
    "absent_object": Kind("a requested frame does not show the object", "kept"),
    "missing_video": Kind("no such file below the video root", "kept"),
    "no_annotation": Kind("nothing annotated that the task can ask for", "left out"),
    "reversed": Kind("span ends before it starts", "", True),
    "zero_length": Kind("span of no length", "", True),
    "blank_text": Kind("a text is empty", "", True),
    "refused": Kind("anything else that a row may not be", "", True),
}
"""Name -> kind, in the order of the summary."""

NOISE_S = 1e-6
"""Published lengths and ends differ by float noise that is no anomaly."""

TEXTS = ("query", "question", "object", "options", "labels")


@dataclass(frozen=True, slots=True)
class Examined:
    """A row and its anomalies."""

    fields: Mapping[str, Any]
    anomalies: tuple[Anomaly, ...]
    span_was_clipped: bool = False

    @property
    def row_id(self) -> str:
        return str(self.fields["id"])

    @property
    def is_fatal(self) -> bool:
        return any(KINDS[anomaly.kind].is_fatal for anomaly in self.anomalies)


def examine(fields: Mapping[str, Any], clip_to_duration: bool) -> Examined:
    """The row with its texts stripped and, on request, its spans clipped; the target is otherwise unchanged."""
    row_id = str(fields["id"])
    anomalies: list[Anomaly] = []
    fields = _strip(fields, row_id, anomalies)
    length = _clip_s(fields)
    target = fields["target"]
    is_clipped = False
    if isinstance(target, dict):
        key, published = _published_spans(target)
        if _are_spans(published):
            anomalies += [Anomaly(kind, row_id, d) for span in published for kind, d in _span_kinds(span, length)]
            ordered = sorted(published)
            if key == "spans" and any(later[0] <= earlier[1] for earlier, later in pairwise(ordered)):
                anomalies.append(Anomaly("overlapping", row_id, str(ordered)))
            if clip_to_duration and length is not None and published and key in ("span", "spans"):
                clipped = [[max(start, 0.0), min(end, length)] for start, end in published]
                is_clipped = clipped != [list(span) for span in published]
                fields = {**fields, "target": {**target, key: clipped[0] if key == "span" else clipped}}
    examined = Examined(fields, tuple(anomalies), is_clipped)
    if examined.is_fatal:
        return examined
    row = read_row(dict(fields), Path(), TASKS)
    if isinstance(row, Row):
        return examined
    return replace(examined, anomalies=(*anomalies, Anomaly("refused", row_id, "; ".join(row))))


def _published_spans(target: Mapping[str, Any]) -> tuple[str, Any]:
    """Key of the target that holds spans, and the spans; ("", []) where none does."""
    key = next((key for key in ("span", "spans", "any_of", "moments", "captions") if key in target), "")
    value = target.get(key, [])
    if key == "captions" and isinstance(value, list):
        value = [event.get("span") if isinstance(event, Mapping) else event for event in value]
    return key, [value] if key == "span" else value


def _span_kinds(span: Any, length: float | None) -> list[tuple[str, str]]:
    start, end = span
    detail = f"[{start:g}, {end:g}]" + ("" if length is None else f" of {length:g} s")
    is_past = length is not None and end > length + NOISE_S
    tests = (
        ("past_end", is_past),
        ("past_end_1s", is_past and length is not None and end > length + 1 + NOISE_S),
        ("start_past_end", length is not None and start > length + NOISE_S),
        ("early_start", start < 0),
        ("reversed", end < start),
        ("zero_length", end == start),
    )
    return [(kind, detail) for kind, applies in tests if applies]


def _are_spans(spans: Any) -> bool:
    return isinstance(spans, list) and all(
        isinstance(span, list) and len(span) == 2 and all(type(edge) in (int, float) for edge in span) for span in spans
    )


def _clip_s(fields: Mapping[str, Any]) -> float | None:
    end = fields.get("end_s", fields.get("duration_s"))
    return None if end is None else end - fields.get("start_s", 0.0)


def _strip(fields: Mapping[str, Any], row_id: str, anomalies: list[Anomaly]) -> dict[str, Any]:
    """The row without blanks around its texts; texts of blanks alone become anomalies."""
    stripped = {**fields, **{key: _stripped(fields[key]) for key in (*TEXTS, "target") if key in fields}}
    if stripped != fields:
        anomalies.append(Anomaly("blanks", row_id))
    texts = {key: stripped[key] for key in TEXTS if key in stripped}
    texts |= stripped["target"] if isinstance(stripped["target"], dict) else {}
    anomalies += [
        Anomaly("blank_text", row_id, key)
        for key, value in texts.items()
        if value == "" or (isinstance(value, list) and "" in value)
    ]
    return stripped


def _stripped(value: Any) -> Any:
    if isinstance(value, list):
        return [_stripped(part) for part in value]
    if isinstance(value, dict):
        return {key: _stripped(part) for key, part in value.items()}
    return value.strip() if isinstance(value, str) else value
