"""Answers along a stream: the right option, a count so far, yes or no, what to say and when; and how texts are read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from rewards.parsing import LONGEST_ANSWER, parse_words
from rewards.targets.choice import ChoiceTarget, read_choice
from rewards.targets.values import read_numbers, read_text, write_number
from rewards.types import Fault, Span, Target

WAIT = "wait"
"""Answer of a policy that has not seen yet what is asked for."""

_COUNT = re.compile(r"[^\d.-]*+(\d{1,6}+)[^\d.-]*+\.?+")
_DIGIT = re.compile(r"\d")
_NUMBER_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"
)  # fmt: skip
_COUNT_WORDS = {word: number for number, word in enumerate(_NUMBER_WORDS)} | {"once": 1, "twice": 2}
_YES_NO = {"yes": True, "y": True, "no": False, "n": False}
_SECONDS = r"(\d{1,9}+(?:\.\d*+)?+)\s*+(?:seconds?+|s)?+"
_TIMED = re.compile(rf"\s*+(?:at\s++)?+{_SECONDS}\s*+[:,]\s*+(.*+)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class StreamChoiceTarget(ChoiceTarget):
    """The right option's letter, and the kind of question: StreamChoiceTarget("C", "ovo EPM").

    Where the kind begins with the name of a benchmark in published.RELEASED, its released scorer is the strict one.
    """

    json_form = '{"choice": "C", "kind": "what kind of question"}'
    json_keys: ClassVar[tuple[tuple[str, ...], ...]] = (("choice", "kind"),)
    text_keys: ClassVar[tuple[str, ...]] = ("choice", "kind")

    kind: str

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        return cls(read_choice(data["choice"], problems), read_text("kind", data["kind"], problems))

    def to_json(self) -> dict[str, object]:
        return {"choice": self.choice, "kind": self.kind}

    def subsets(self) -> tuple[str, ...]:
        return (self.kind,)


@dataclass(frozen=True, slots=True)
class CountTarget(Target):
    """How often something has happened so far: CountTarget(3)."""

    json_form = '{"count": 3}'
    json_keys = (("count",),)
    answer_form = "<answer>number</answer>"

    count: int

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        value = data["count"]
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 10**6:
            problems.append(f"count: {value!r:.60} is no whole number from 0 on")
            return cls(0)
        return cls(value)

    def to_json(self) -> dict[str, object]:
        return {"count": self.count}

    def written(self) -> str:
        return f"<answer>{self.count}</answer>"

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        return ("the answer is not one whole number", "unreadable") if answered_count(answer) is None else None

    def category(self) -> str | None:
        return str(self.count)


@dataclass(frozen=True, slots=True)
class YesNoTarget(Target):
    """Whether it is so at the time of the question: YesNoTarget(True)."""

    json_form = '{"yes": true}'
    json_keys = (("yes",),)
    answer_form = "<answer>Yes or No</answer>"

    yes: bool

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        value = data["yes"]
        if not isinstance(value, bool):
            problems.append(f"yes: {value!r:.60} is neither true nor false")
        return cls(value is True)

    def to_json(self) -> dict[str, object]:
        return {"yes": self.yes}

    @property
    def word(self) -> str:
        return "Yes" if self.yes else "No"

    def written(self) -> str:
        return f"<answer>{self.word}</answer>"

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        return ("the answer is neither yes nor no", "unreadable") if answered_yes_no(answer) is None else None

    def category(self) -> str | None:
        return self.word


@dataclass(frozen=True, slots=True)
class ReplyTarget(Target):
    """What to say, and from when on: ReplyTarget(8.0, "a goal"); ReplyTarget(None, "a goal") where it is too early."""

    json_form = '{"due_s": seconds or null, "text": "what to say"}'
    json_keys = (("due_s", "text"),)
    answer_form = f"<answer>seconds: words, or {WAIT}</answer>"
    text_keys = ("text",)

    due_s: float | None
    """Seconds from the start of the clip at which the evidence is there; None: it is not in the clip."""
    text: str

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        due = data["due_s"]
        numbers = None if due is None else read_numbers("due_s", [due], 1, problems)
        if numbers and numbers[0] < 0:
            problems.append(f"due_s: {numbers[0]:g} lies before the clip")
        return cls(numbers[0] if numbers else None, read_text("text", data["text"], problems))

    def to_json(self) -> dict[str, object]:
        return {"due_s": self.due_s, "text": self.text}

    def written(self) -> str:
        return f"<answer>{WAIT if self.due_s is None else f'{write_number(self.due_s)}: {self.text}'}</answer>"

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        problem = "the answer is neither 'seconds: words' nor 'wait'"
        return (problem, "unreadable") if answered_reply(answer) is None else None

    def time_spans(self) -> dict[str, Span]:
        return {} if self.due_s is None else {"due_s": (self.due_s, self.due_s)}

    def subsets(self) -> tuple[str, ...]:
        return ("too early",) if self.due_s is None else ("due",)


def answered_count(answer: str) -> int | None:
    """The one whole number of an answer, as "3", "3 times", "three" or "twice"; None where there is none or several.

    Words up to twelve count, and only where the answer has no digit: "one man did it 3 times" is 3.
    """
    match = _COUNT.fullmatch(answer) if len(answer) <= LONGEST_ANSWER else None
    if match:
        return int(match[1])
    named = (
        [] if _DIGIT.search(answer) else [_COUNT_WORDS[word] for word in parse_words(answer) if word in _COUNT_WORDS]
    )
    return named[0] if len(named) == 1 else None


def answered_yes_no(answer: str) -> bool | None:
    """True where an answer has the word yes or Y, False where it has no or N; None: both or neither."""
    said = {_YES_NO[word] for word in parse_words(answer) if word in _YES_NO}
    return said.pop() if len(said) == 1 else None


def answered_reply(answer: str) -> tuple[float | None, str] | None:
    """(seconds, words) of "8.0: a goal" or "at 8 s, a goal"; (None, "") for "wait"; None: neither."""
    if len(answer) > LONGEST_ANSWER:
        return None
    if answer.strip(" .").casefold() == WAIT:
        return (None, "")
    match = _TIMED.fullmatch(answer)
    return (float(match[1]), match[2]) if match and parse_words(match[2]) else None
