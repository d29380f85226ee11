"""The one time span of an event."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from rewards.parsing import parse_span
from rewards.targets.values import ENDLESS, read_numbers, write_number
from rewards.types import Fault, Span, Target

EARLY_START_S = 0.25
"""How far a span may start before its clip, in seconds: NExT-GQA's published spans do so by up to 0.2 s."""


@dataclass(frozen=True, slots=True)
class SpanTarget(Target):
    """The one time span of an event, in seconds from the start of the clip: SpanTarget(12.5, 17.25)."""

    json_form = '{"span": [start_s, end_s]}'
    json_keys = (("span",),)
    answer_form = "<answer>start to end</answer>"

    start_s: float
    end_s: float

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        return cls(*read_span("span", data["span"], problems))

    def to_json(self) -> dict[str, object]:
        return {"span": [self.start_s, self.end_s]}

    def written(self) -> str:
        return f"<answer>{write_number(self.start_s)} to {write_number(self.end_s)}</answer>"

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        span = parse_span(answer)
        if span is None:
            return "the answer is no 'start to end'", "unreadable"
        return None if span[0] <= span[1] else ("the answer ends before it starts", "reversed")

    def time_spans(self) -> dict[str, Span]:
        return {"span": (self.start_s, self.end_s)}


def read_span(where: str, value: object, problems: list[str]) -> Span:
    """Span (start_s, end_s) from a JSON list. Problems are added to `problems`; the span is then not used."""
    # Fast path: most spans are valid.
    if type(value) is list and len(value) == 2:
        start, end = value
        if type(start) is type(end) is float and -EARLY_START_S <= start < end < ENDLESS:
            return (start, end)
    numbers = read_numbers(where, value, 2, problems)
    if numbers is None:
        return (0.0, 0.0)
    start, end = numbers
    if start < -EARLY_START_S:
        problems.append(f"{where}: starts at {start} s; times count from 0 at the start of the clip")
    if end <= start:
        problems.append(f"{where}: ends at {end} s, not after its start at {start} s; swap them or drop the row")
    return (start, end)
