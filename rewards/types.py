"""Types of rewards: Score, what a reward returns, and Target, what it compares with."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Self, get_args

Span = tuple[float, float]
"""(start, end) in seconds from the start of the clip."""

Box = tuple[float, float, float, float]
"""(x0, y0, x1, y1), normalised to [0, 1], x0 < x1 and y0 < y1."""

Fidelity = Literal["as_published", "corrected"]
"""Parser of completions: VideoChat-R1's released one, oddities included, or our own."""

Fault = Literal["no_tag", "unreadable", "reversed", "out_of_range", "wrong_count"]
"""Why an answer earns nothing: its tag is missing, its text is not of the target's kind, a span ends before it starts,
a time or box is outside the clip, or it has another number of parts than the target."""

FAULTS: tuple[Fault, ...] = get_args(Fault)


@dataclass(frozen=True, slots=True)
class Score:
    """One reward function's verdict on one completion."""

    value: float
    """Number in [0, 1]."""
    answer: str | None
    """Text that was parsed from the completion; None if there is none."""
    note: str
    """Reason of the value, for the reader of a report."""
    fault: Fault | None = None
    """Kind of error in the answer; None if it could be judged."""


def fault_of(scores: Mapping[str, Score]) -> Fault | None:
    """First fault among the scores, in the order of the recipe; None if every reward could judge the answer."""
    return next((score.fault for score in scores.values() if score.fault is not None), None)


@dataclass(frozen=True, slots=True)
class Target(ABC):
    """The ground truth of a prompt. Each kind is one frozen dataclass in one file of rewards/targets/.

    Callers ask a target for what they need and never for its kind. A kind that has no spans, boxes and so on keeps
    the defaults.
    """

    duration_s: float | None = field(default=None, compare=False, kw_only=True)
    """Length of the clip in seconds, None if unknown; taken from the row, not part of the JSON form."""
    num_options: int | None = field(default=None, compare=False, kw_only=True)
    """Number of options, one of which is right, None if unknown; taken from the row, not part of the JSON form."""

    json_form: ClassVar[str]
    """The JSON form as error messages show it: '{"span": [start_s, end_s]}'."""
    json_keys: ClassVar[tuple[tuple[str, ...], ...]]
    """The keys of the JSON form: (("choice", "spans"),); two entries where there are two forms."""
    answer_form: ClassVar[str]
    """The tags after the thought, with words where the answer goes: "<answer>start to end</answer>"."""
    tags: ClassVar[tuple[str, ...]] = ("answer",)
    """Names of the tags in `answer_form`, in order."""
    text_keys: ClassVar[tuple[str, ...]] = ()
    """Keys of the JSON form whose value is text: the cell of a table is that text, not JSON."""

    @classmethod
    @abstractmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        """Target from a JSON object with the keys of `json_keys`.

        Problems of the object are added to `problems`; the target returned then is not used.
        """

    @classmethod
    def fits(cls, data: Mapping[str, object]) -> bool:
        """Whether a JSON object has the keys of `json_keys`."""
        return any(data.keys() == set(names) for names in cls.json_keys)

    @classmethod
    def read(
        cls, data: Mapping[str, object], *, duration_s: float | None = None, num_options: int | None = None
    ) -> Self:
        """Target from a JSON object that `fits`, checked for order and range. Raises ValueError with every problem."""
        problems: list[str] = []
        target = cls.from_json(data, problems)
        if problems:
            raise ValueError("; ".join(problems))
        # Set on the new target: copies by dataclasses.replace would slow `rft score` down by 6 to 9 %.
        if duration_s is not None:
            object.__setattr__(target, "duration_s", duration_s)
        if num_options is not None:
            object.__setattr__(target, "num_options", num_options)
        return target

    @abstractmethod
    def to_json(self) -> dict[str, object]:
        """The JSON form; `from_json` reads it back unchanged."""

    @abstractmethod
    def written(self) -> str:
        """The tags after the thought, filled in with the right answer: "<answer>12.5 to 17.0</answer>"."""

    @abstractmethod
    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        """(note, fault) if `answer`, the text inside <answer>, or another part of the completion has the wrong form."""

    @classmethod
    def from_cell(cls, key: str, cell: str) -> object:
        """Value of a key of the JSON form, from the cell of a table. Raises ValueError if the cell is not JSON."""
        return cell if key in cls.text_keys else cell_json(cell)

    def time_spans(self) -> dict[str, Span]:
        """Path in the JSON form, such as "spans[0]" -> time span in seconds; {} if the kind has none."""
        return {}

    def frame_boxes(self) -> tuple[Box, ...]:
        """One box per queried frame, in time order; () if the kind has none."""
        return ()

    def subsets(self) -> tuple[str, ...]:
        """Parts of an evaluation that the row belongs to, such as "level 1"; each gets a figure of its own."""
        return ()

    def category(self) -> str | None:
        """Class of the target, by which rows are counted, such as the letter; None if targets are rarely equal."""
        return None


def cell_json(cell: str) -> object:
    """JSON value of the cell of a table. Raises ValueError if the cell is not JSON."""
    try:
        return json.loads(cell)
    except ValueError:
        raise ValueError(f"{cell[:40]!r} is not JSON, such as [1.5, 4.0]") from None
