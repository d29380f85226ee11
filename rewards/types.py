"""What a reward returns, and what it judges against."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Self, get_args

Span = tuple[float, float]
"""(start, end) in seconds from the start of the clip."""

Box = tuple[float, float, float, float]
"""(x0, y0, x1, y1), normalised to [0, 1], x0 < x1 and y0 < y1."""

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
class RowFacts:
    """What a row tells of its target beside the JSON form."""

    duration_s: float | None = None
    """Length of the clip in seconds; None where it is not known."""
    num_options: int | None = None
    """Number of options, one of which is right; None where there are none or it is not known."""


class Target(ABC):
    """The ground truth of a prompt. Each kind is one frozen dataclass in one file of rewards/targets/.

    Callers ask a target for what they need and never for its kind. A kind that has no spans, boxes and so on keeps
    the defaults.
    """

    __slots__ = ()

    json_form: ClassVar[str]
    """The JSON form as error messages show it: '{"span": [start_s, end_s]}'."""
    json_keys: ClassVar[tuple[tuple[str, ...], ...]]
    """The keys of the JSON form: (("choice", "spans"),); two entries where there are two forms."""
    answer_form: ClassVar[str]
    """The tags after the thought, with words where the answer goes: "<answer>start to end</answer>"."""
    tags: ClassVar[tuple[str, ...]] = ("answer",)
    """Names of the tags in `answer_form`, in order."""

    @classmethod
    @abstractmethod
    def from_json(cls, data: Mapping[str, object], facts: RowFacts, problems: list[str]) -> Self:
        """The target that a JSON object with the keys of `json_keys` states.

        What is wrong with the object is added to `problems`; the target returned then is not used.
        """

    @abstractmethod
    def to_json(self) -> dict[str, object]:
        """The JSON form; `from_json` reads it back unchanged."""

    @abstractmethod
    def written(self) -> str:
        """The tags after the thought, filled in with the right answer: "<answer>12.5 to 17.0</answer>"."""

    @abstractmethod
    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        """Why `answer`, the text inside <answer>, or another part of the completion is not of this kind; or None."""

    @classmethod
    def from_cell(cls, key: str, cell: str) -> object:
        """The value of a key of the JSON form, from the cell of a table. ValueError: it is not JSON."""
        return cell_json(cell)

    def row_facts(self) -> RowFacts:
        """What the target keeps of its row's facts; `from_json` takes them back."""
        return RowFacts()

    def with_duration(self, duration_s: float) -> Self:
        """The target for a clip of this length; itself where the kind holds no times."""
        return self

    def time_spans(self) -> dict[str, Span]:
        """The time spans by their place in the JSON form, such as "spans[0]"; {} where the kind has none."""
        return {}

    def frame_boxes(self) -> tuple[Box, ...]:
        """One box per frame that is asked about, in time order; () where the kind has none."""
        return ()

    def category(self) -> str | None:
        """What equal rows are counted by, such as the letter; None where targets are hardly ever equal."""
        return None


def cell_json(cell: str) -> object:
    """The JSON value in the cell of a table. Raises ValueError where there is none."""
    try:
        return json.loads(cell)
    except ValueError:
        raise ValueError(f"{cell[:40]!r} is not JSON, such as [1.5, 4.0]") from None
