"""How well each candidate fits, and the order that an answer gives them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from rewards.parsing import LONGEST_ANSWER
from rewards.targets.values import read_list, read_numbers, read_text
from rewards.types import Fault, Target

MOST_CANDIDATES = 10
"""Most candidates of a row."""

Missing = Literal["refuse", "last"]
"""What to make of a short list: refuse it, or rank the missing candidates last, of them the last shown first."""

_DASH = "[-\u2010-\u2015\u2212~]"
_NUMBER = re.compile("[0-9]++")
# "1-4", "1 to 4", "1..4", "1.4" and "-1"; a dash at the start of a line is a bullet.
_NO_ITEM = re.compile(rf"[0-9][ \t]*+(?:{_DASH}|\.\.++|to\b|through\b)[ \t]*+[0-9]|[0-9]\.[0-9]|{_DASH}[0-9]")


@dataclass(frozen=True, slots=True)
class RankingTarget(Target):
    """Relevance of each candidate in the order shown: RankingTarget((0.0, 1.0, 0.0), "time")."""

    json_form = '{"relevance": [0, 1, 0], "negatives": "time"}'
    json_keys = (("relevance",), ("relevance", "negatives"))
    answer_form = "<answer>numbers, best first</answer>"
    text_keys = ("negatives",)

    relevance: tuple[float, ...]
    """[N], each at least 0 and not all alike; the right candidates are those of the highest relevance."""
    negatives: str | None = None
    """What the wrong candidates get wrong, such as "space" or "time"; None: nothing in particular."""

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        listed = read_list("relevance", data["relevance"], 2, problems)
        relevance = read_numbers("relevance", listed, len(listed), problems) or ()
        if len(relevance) > MOST_CANDIDATES:
            problems.append(f"relevance: {len(relevance)} candidates, at most {MOST_CANDIDATES} can be ranked")
        if relevance and (min(relevance) < 0 or len(set(relevance)) == 1):
            problems.append("relevance: write numbers from 0 up that are not all alike, such as 1 for the right one")
        negatives = read_text("negatives", data["negatives"], problems) if "negatives" in data else None
        return cls(relevance, negatives)

    def to_json(self) -> dict[str, object]:
        relevance: dict[str, object] = {"relevance": list(self.relevance)}
        return relevance if self.negatives is None else {**relevance, "negatives": self.negatives}

    def written(self) -> str:
        order = sorted(range(len(self.relevance)), key=lambda i: -self.relevance[i])
        return write_order([i + 1 for i in order])

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        return order_problem(parse_order(answer), len(self.relevance), "refuse")

    def subsets(self) -> tuple[str, ...]:
        """The kind of its wrong candidates: "negatives in time"."""
        return () if self.negatives is None else (f"negatives in {self.negatives}",)


def write_order(numbers: Sequence[int]) -> str:
    """The tags of an answer that ranks candidates: "<answer>3, 1, 2</answer>"."""
    return f"<answer>{', '.join(map(str, numbers))}</answer>"


def parse_order(text: str) -> tuple[int, ...] | None:
    """The whole numbers of a text in the order written, whatever stands between them; of long ones nine digits.

    None where there are none, or where a range ("1-4"), a fraction ("1.5") or a negative number is among them.
    """
    if len(text) > LONGEST_ANSWER or _NO_ITEM.search(text):
        return None
    return tuple(int(number[:9]) for number in _NUMBER.findall(text)) or None


def order_problem(numbers: tuple[int, ...] | None, num_candidates: int, missing: Missing) -> tuple[str, Fault] | None:
    """(note, fault) of numbers that are not each of 1 to `num_candidates` once, else None."""
    if numbers is None:
        return "no list of whole numbers; divide them by commas, without ranges", "unreadable"
    outside = [number for number in numbers if not 1 <= number <= num_candidates]
    if outside:
        return f"{outside[0]} is none of 1 to {num_candidates}", "out_of_range"
    if len(set(numbers)) < len(numbers):
        return "a number stands twice", "wrong_count"
    if len(numbers) < num_candidates and missing == "refuse":
        return f"{len(numbers)} of {num_candidates} candidates ranked", "wrong_count"
    return None
