"""The right one of a fixed set of labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from rewards.parsing import parse_words
from rewards.targets.values import read_text
from rewards.types import Fault, Target


@dataclass(frozen=True, slots=True)
class LabelTarget(Target):
    """The right one of a fixed set of labels: LabelTarget("high quality")."""

    json_form = '{"label": "high quality"}'
    json_keys = (("label",),)
    answer_form = "<answer>label</answer>"
    text_keys = ("label",)

    label: str

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        return cls(read_text("label", data["label"], problems))

    def to_json(self) -> dict[str, object]:
        return {"label": self.label}

    def written(self) -> str:
        return f"<answer>{self.label}</answer>"

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        return words_problem(answer)

    def category(self) -> str | None:
        return self.label


def words_problem(answer: str) -> tuple[str, Fault] | None:
    """(note, fault) of an answer without words or with too many, else None."""
    return None if parse_words(answer) else ("the answer holds no words, or too many", "unreadable")
