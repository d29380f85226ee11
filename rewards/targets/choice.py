"""The letter of the right option."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from rewards.parsing import parse_choice
from rewards.targets.values import shown
from rewards.types import Fault, Target

LETTERS = "ABCDEFG"
"""The letters that options can have, in order."""


@dataclass(frozen=True, slots=True)
class ChoiceTarget(Target):
    """The letter of the right option, "A".."G": ChoiceTarget("C")."""

    json_form = '{"choice": "C"}'
    json_keys: ClassVar[tuple[tuple[str, ...], ...]] = (("choice",),)
    answer_form = "<answer>letter</answer>"
    text_keys: ClassVar[tuple[str, ...]] = ("choice",)

    choice: str

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        return cls(read_choice(data["choice"], problems))

    def to_json(self) -> dict[str, object]:
        return {"choice": self.choice}

    def written(self) -> str:
        return f"<answer>{self.choice}</answer>"

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        return choice_problem(answer)

    def category(self) -> str | None:
        return self.choice


def read_choice(value: object, problems: list[str]) -> str:
    """Letter of LETTERS from a JSON value. A problem is added to `problems`; the letter is then not used."""
    if isinstance(value, str) and len(value) == 1 and value in LETTERS:
        return value
    problems.append(f"choice: {shown(value)} is not one letter of {LETTERS[0]}..{LETTERS[-1]}; write the letter alone")
    return LETTERS[0]


def choice_problem(answer: str) -> tuple[str, Fault] | None:
    """(note, fault) of an answer that names no option, else None."""
    return ("the answer is no option letter", "unreadable") if parse_choice(answer) is None else None
