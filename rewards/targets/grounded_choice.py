"""The right option's letter, and the time spans that show it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from rewards.parsing import parse_spans, tag_text
from rewards.targets.choice import choice_problem, read_choice
from rewards.targets.span import read_span
from rewards.targets.values import read_list, write_number
from rewards.types import Fault, Span, Target


@dataclass(frozen=True, slots=True)
class GroundedChoiceTarget(Target):
    """The right option's letter, and the spans that show it: GroundedChoiceTarget("C", ((1.5, 3.0), (7.0, 9.0)))."""

    json_form = '{"choice": "C", "spans": [[start_s, end_s], ...]}'
    json_keys = (("choice", "spans"),)
    answer_form = "<answer>letter</answer><glue>[(start, end), ...]</glue>"
    tags = ("answer", "glue")
    text_keys = ("choice",)

    choice: str
    spans: tuple[Span, ...]

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        spans = read_list("spans", data["spans"], 1, problems)
        return cls(
            read_choice(data["choice"], problems),
            tuple([read_span(f"spans[{i}]", span, problems) for i, span in enumerate(spans)]),
        )

    def to_json(self) -> dict[str, object]:
        return {"choice": self.choice, "spans": [list(span) for span in self.spans]}

    def written(self) -> str:
        spans = ", ".join(f"({write_number(max(start, 0.0))}, {write_number(end)})" for start, end in self.spans)
        return f"<answer>{self.choice}</answer><glue>[{spans}]</glue>"

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        return choice_problem(answer) or _glue_problem(tag_text(completion, "glue") or "")

    def time_spans(self) -> dict[str, Span]:
        return {f"spans[{i}]": span for i, span in enumerate(self.spans)}

    def category(self) -> str | None:
        return self.choice


def _glue_problem(glue: str) -> tuple[str, Fault] | None:
    spans = parse_spans(glue)
    if spans is None:
        return "the glue is no list of (start, end)", "unreadable"
    if not spans:
        return "the glue is an empty list", "wrong_count"
    return ("a span of the glue ends before it starts", "reversed") if any(e < s for s, e in spans) else None
