"""What a reward returns, the targets it judges against, and their JSON form."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Span = tuple[float, float]
"""(start, end) in seconds from the start of the clip."""

Box = tuple[float, float, float, float]
"""(x0, y0, x1, y1), normalised to [0, 1], x0 < x1 and y0 < y1."""

LETTERS = "ABCDEFG"
"""The letters that options can have, in order."""

EARLY_START_S = 0.25
"""How far a true span may start before its clip: NExT-GQA's published spans do so by up to 0.2 s."""

Fidelity = Literal["as_published", "corrected"]
"""Whose reading of a completion: that of VideoChat-R1's released code, oddities included, or our own."""

Fault = Literal["no_tag", "unreadable", "reversed", "out_of_range", "wrong_count"]
"""Why an answer earns nothing: its tag is missing, its text is not of the asked kind, a span ends before it starts,
a time or box lies outside the clip, or it has another number of parts than asked for."""

FAULTS: tuple[Fault, ...] = get_args(Fault)


@dataclass(frozen=True, slots=True)
class Score:
    """One reward function's verdict on one completion."""

    value: float
    """In [0, 1]."""
    answer: str | None
    """What was read out of the completion; None where nothing could be read."""
    note: str
    """Why the value is what it is, for a person reading a report."""
    fault: Fault | None = None
    """What is wrong with the answer as such; None where it could be judged."""


def fault_of(scores: Mapping[str, Score]) -> Fault | None:
    """The fault that the first reward found, in the order of the recipe; None where all could judge the answer."""
    for score in scores.values():
        if score.fault is not None:
            return score.fault
    return None


@dataclass(frozen=True, slots=True)
class SpanTarget:
    """The one time span of an event."""

    start_s: float
    end_s: float
    duration_s: float | None = field(default=None, compare=False)
    """Length of the clip where known; told by the row, no part of the JSON form."""


@dataclass(frozen=True, slots=True)
class ChoiceTarget:
    """The letter of the right option, "A".."G"."""

    choice: str
    num_options: int | None = field(default=None, compare=False)
    """Among how many one is right, where known; told by the row, no part of the JSON form."""


@dataclass(frozen=True, slots=True)
class GroundedChoiceTarget:
    """The right option's letter, and the spans that show it."""

    choice: str
    spans: tuple[Span, ...]
    duration_s: float | None = field(default=None, compare=False)
    """Length of the clip where known; told by the row, no part of the JSON form."""
    num_options: int | None = field(default=None, compare=False)
    """Among how many one is right, where known; told by the row, no part of the JSON form."""


@dataclass(frozen=True, slots=True)
class BoxesTarget:
    """One box per asked frame, in time order; the first is the start box that the prompt gives."""

    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class LabelTarget:
    """The right one of a fixed set of labels."""

    label: str
    num_options: int | None = field(default=None, compare=False)
    """Among how many one is right, where known; told by the row, no part of the JSON form."""


@dataclass(frozen=True, slots=True)
class CaptionTarget:
    """What happens in the clip: a text, or its events one by one."""

    text: str
    """Empty where the events are given."""
    events: tuple[str, ...]
    """Empty where only the text is given."""


Target = SpanTarget | ChoiceTarget | GroundedChoiceTarget | BoxesTarget | LabelTarget | CaptionTarget

TARGET_FORMS: dict[type, str] = {
    SpanTarget: '{"span": [start_s, end_s]}',
    ChoiceTarget: '{"choice": "C"}',
    GroundedChoiceTarget: '{"choice": "C", "spans": [[start_s, end_s], ...]}',
    BoxesTarget: '{"boxes": [[x0, y0, x1, y1], ...]}',
    LabelTarget: '{"label": "high quality"}',
    CaptionTarget: '{"text": "what happens"} or {"events": ["what happens first", ...]}',
}
"""How each target is written in JSON; also the wording of error messages."""


def target_from_dict(
    data: Mapping[str, object], duration_s: float | None = None, num_options: int | None = None
) -> Target:
    """The target that a JSON object states (forms: TARGET_FORMS), checked for order and range.

    `duration_s`: length of the clip, for targets that hold times. `num_options`: among how many one is right, for
    choices and labels. Raises ValueError naming every problem.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"target {_shown(data)} is not an object; write one of {_forms()}")
    problems: list[str] = []
    target: Target
    keys = set(data)
    if keys == {"span"}:
        target = SpanTarget(*(_good_span(data["span"]) or _span("span", data["span"], problems)), duration_s)
    elif keys == {"choice"}:
        target = ChoiceTarget(_choice(data["choice"], problems), num_options)
    elif keys == {"choice", "spans"}:
        spans = _items("spans", data["spans"], 1, problems)
        target = GroundedChoiceTarget(
            _choice(data["choice"], problems),
            tuple([_good_span(span) or _span(f"spans[{i}]", span, problems) for i, span in enumerate(spans)]),
            duration_s,
            num_options,
        )
    elif keys == {"boxes"}:
        boxes = _items("boxes", data["boxes"], 2, problems)
        target = BoxesTarget(
            tuple([_good_box(box) or _box(f"boxes[{i}]", box, problems) for i, box in enumerate(boxes)])
        )
    elif keys == {"label"}:
        target = LabelTarget(_text("label", data["label"], problems), num_options)
    elif keys == {"text"}:
        target = CaptionTarget(_text("text", data["text"], problems), ())
    elif keys == {"events"}:
        events = _items("events", data["events"], 1, problems)
        target = CaptionTarget("", tuple(_text(f"events[{i}]", event, problems) for i, event in enumerate(events)))
    elif not keys:
        raise ValueError(f"target is empty; write one of {_forms()}")
    else:
        raise ValueError(f"target has the keys {', '.join(sorted(map(str, keys)))}; write one of {_forms()}")
    if problems:
        raise ValueError("; ".join(problems))
    return target


def target_to_dict(target: Target) -> dict[str, object]:
    """The JSON form of a target; `target_from_dict` reads it back unchanged."""
    if isinstance(target, SpanTarget):
        return {"span": [target.start_s, target.end_s]}
    if isinstance(target, ChoiceTarget):
        return {"choice": target.choice}
    if isinstance(target, GroundedChoiceTarget):
        return {"choice": target.choice, "spans": [list(span) for span in target.spans]}
    if isinstance(target, LabelTarget):
        return {"label": target.label}
    if isinstance(target, CaptionTarget):
        return {"events": list(target.events)} if target.events else {"text": target.text}
    return {"boxes": [list(box) for box in target.boxes]}


_ENDLESS = 1e15
"""No number of a target is so large."""


def _forms() -> str:
    return ", ".join(TARGET_FORMS.values())


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _items(where: str, value: object, least: int, problems: list[str]) -> list[object]:
    # A tuple of types, here and below: a union is built anew at every call, and large files hold many targets.
    if isinstance(value, (list, tuple)) and len(value) >= least:
        return list(value)
    problems.append(f"{where}: {_shown(value)} is not a list of at least {least}")
    return []


def _numbers(where: str, value: object, count: int, problems: list[str]) -> tuple[float, ...] | None:
    if isinstance(value, (list, tuple)) and len(value) == count:
        numbers = [v for v in value if isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) < _ENDLESS]
        if len(numbers) == count:
            return tuple(map(float, numbers))
    problems.append(f"{where}: {_shown(value)} is not a list of {count} finite numbers")
    return None


def _good_span(value: object) -> Span | None:
    """The span where nothing is wrong with it, found faster than `_span` says what is."""
    if type(value) is list and len(value) == 2:
        start, end = value
        if type(start) is type(end) is float and -EARLY_START_S <= start < end < _ENDLESS:
            return (start, end)
    return None


def _span(where: str, value: object, problems: list[str]) -> Span:
    numbers = _numbers(where, value, 2, problems)
    if numbers is None:
        return (0.0, 0.0)
    start, end = numbers
    if start < -EARLY_START_S:
        problems.append(f"{where}: starts at {start} s; times count from 0 at the start of the clip")
    if end <= start:
        problems.append(f"{where}: ends at {end} s, not after its start at {start} s; swap them or drop the row")
    return (start, end)


def _good_box(value: object) -> Box | None:
    """The box where nothing is wrong with it, found faster than `_box` says what is."""
    if type(value) is list and len(value) == 4:
        x0, y0, x1, y1 = value
        if type(x0) is type(y0) is type(x1) is type(y1) is float and 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1:
            return (x0, y0, x1, y1)
    return None


def _box(where: str, value: object, problems: list[str]) -> Box:
    numbers = _numbers(where, value, 4, problems)
    if numbers is None:
        return (0.0, 0.0, 0.0, 0.0)
    x0, y0, x1, y1 = numbers
    if min(numbers) < 0 or max(numbers) > 1:
        problems.append(f"{where}: {_shown(value)} is not in [0, 1]; divide x by the width, y by the height")
    if x1 <= x0 or y1 <= y0:
        problems.append(f"{where}: {_shown(value)} is not [left, top, right, bottom] with left < right, top < bottom")
    return (x0, y0, x1, y1)


def _choice(value: object, problems: list[str]) -> str:
    if isinstance(value, str) and len(value) == 1 and value in LETTERS:
        return value
    problems.append(f"choice: {_shown(value)} is not one letter of {LETTERS[0]}..{LETTERS[-1]}; write the letter alone")
    return LETTERS[0]


def _text(where: str, value: object, problems: list[str]) -> str:
    if isinstance(value, str) and value.strip():
        return value.strip()
    problems.append(f"{where}: {_shown(value)} is no text; write what is meant in words")
    return ""
