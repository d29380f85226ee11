"""Tasks along a stream: a question with options at a time, a count so far, and an answer that has to come in time."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from pydantic import Field

from rewards.choice import choice_score
from rewards.parsing import LONGEST_ANSWER, answer_text, parse_choice, parse_words
from rewards.targets.choice import ChoiceTarget, read_choice
from rewards.targets.values import read_numbers, read_text, write_number
from rewards.types import Fault, Score, Span, Target
from rft.tasks.multiple_choice import MultipleChoiceRow
from rft.tasks.types import Answers, HeldOut, Rewards, Row, Task, majority, option_lines, option_problems

WAIT = "wait"
"""Answer of a policy that has not seen yet what is asked for."""

_COUNT = re.compile(r"[^\d.-]*+(\d{1,6}+)[^\d.-]*+\.?+")
_SECONDS = r"(\d{1,9}+(?:\.\d*+)?+)\s*+(?:seconds?+|s)?+"
_TIMED = re.compile(rf"\s*+(?:at\s++)?+{_SECONDS}\s*+[:,]\s*+(.*+)", re.IGNORECASE | re.DOTALL)
_LETTER_FIRST = re.compile(r"([a-e])\..+\Z", re.IGNORECASE)
_LONE_LETTER = re.compile(r"\b[a-e]\b", re.IGNORECASE)
_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_FULL_STOP = re.compile(r"\.(?!\d)")
_THOUSANDS = re.compile(r"\d,\d")


class StreamRow(Row):
    question: str = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class StreamChoiceTarget(ChoiceTarget):
    """The right option's letter, and the kind of question: StreamChoiceTarget("C", "tao PastMemory-1")."""

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
    """The one whole number of an answer, as "3" or "3 times"; None where there is none or several."""
    match = _COUNT.fullmatch(answer) if len(answer) <= LONGEST_ANSWER else None
    return int(match[1]) if match else None


def answered_reply(answer: str) -> tuple[float | None, str] | None:
    """(seconds, words) of "8.0: a goal" or "at 8 s, a goal"; (None, "") for "wait"; None: neither."""
    if len(answer) > LONGEST_ANSWER:
        return None
    if answer.strip(" .").casefold() == WAIT:
        return (None, "")
    match = _TIMED.fullmatch(answer)
    return (float(match[1]), match[2]) if match and parse_words(match[2]) else None


def count_match(completion: str, target: CountTarget) -> Score:
    """1 if the last <answer> is the right number, else 0."""
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    count = answered_count(answer)
    if count is None:
        return Score(0.0, answer, "not one whole number inside <answer>", "unreadable")
    return Score(float(count == target.count), answer, f"{count}, right is {target.count}")


def reply_in_time(completion: str, target: ReplyTarget, *, within_s: float = 4.0) -> Score:
    """Share of the words said, times how promptly, in [0, 1]; "wait" earns 1 where the evidence is not in the clip.

    Reads the last <answer> as "seconds: words". A time before the evidence earns 0; promptness falls from 1 at the
    due time to 0 at `within_s` later. Words: those of the target that the reply has, less those it adds (F1).
    """
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    reply = answered_reply(answer)
    if reply is None:
        return Score(0.0, answer, "neither 'seconds: words' nor 'wait' inside <answer>", "unreadable")
    time_s, words = reply
    if time_s is None or target.due_s is None:
        right = time_s is None and target.due_s is None
        return Score(float(right), answer, "waited" if time_s is None else "replied before the evidence was there")
    late_s = time_s - target.due_s
    if late_s < 0:
        return Score(0.0, answer, f"replied {-late_s:.2f} s too early")
    said = _word_f1(words, target.text)
    return Score(said * max(0.0, 1 - late_s / within_s), answer, f"words {said:.2f}, {late_s:.2f} s late")


def released_choice(completion: str, target: StreamChoiceTarget) -> Score:
    """1 if OVBench's released scorer reads the right letter: "A. text", else the first lone letter a to e.

    The article counts as a letter: "a person" reads as A (arXiv:2501.00584, lmms-eval task).
    """
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    text = answer[:LONGEST_ANSWER].strip()
    match = _LETTER_FIRST.match(text) or _LONE_LETTER.search(_without_marks(text))
    if match is None:
        return Score(0.0, answer, "no letter that the released code reads", "unreadable")
    return choice_score(match[0][0].upper(), answer, target.choice)


def _without_marks(text: str) -> str:
    """The text in which the released scorer looks for a lone letter: words that marks parted may have grown together.

    A mark that stands beside a blank anywhere leaves nothing, as all do where a number has a comma; others leave a
    blank. Of full stops without a digit behind them the first 32 leave nothing.
    """
    text = text.replace("\n", " ").replace("\t", " ")
    grows = _THOUSANDS.search(text) is not None
    cleaned = text
    for mark in _MARKS:
        cleaned = cleaned.replace(mark, "" if grows or f"{mark} " in text or f" {mark}" in text else " ")
    return _FULL_STOP.sub("", cleaned, count=32)


def _word_f1(text: str, other: str) -> float:
    said, true = set(parse_words(text)), set(parse_words(other))
    return 2 * len(said & true) / (len(said) + len(true)) if said and true else 0.0


def _time_problems(row: Row) -> list[str]:
    if row.video is not None and row.end_s is None:
        return ["end_s: missing; it is the time of the question, after which nothing is seen"]
    return []


def _now(row: Row) -> str:
    return "" if row.end_s is None else f"It is now {row.end_s - (row.start_s or 0.0):g} seconds into the video. "


class StreamChoice(Task):
    name = "stream_choice"
    row_type = MultipleChoiceRow
    target_type = StreamChoiceTarget
    example = MultipleChoiceRow(
        id="example",
        task="stream_choice",
        video="street.mp4",
        end_s=12.0,
        question="What did the man do two seconds ago?",
        options=("He sat down", "He waved", "He ran"),
        target={"choice": "B", "kind": "past"},
    )
    rewards = (("choice_accuracy", 1.0),)
    published_rewards: ClassVar[Rewards] = {"choice_accuracy": released_choice}
    main_metric = "accuracy"

    def question(self, row: MultipleChoiceRow, target: StreamChoiceTarget) -> str:
        return f"{_now(row)}{row.question.strip()}\n{option_lines(row.options)}\nGive the letter of the right option."

    def row_problems(self, row: MultipleChoiceRow, target: StreamChoiceTarget) -> list[str]:
        return [*_time_problems(row), *option_problems(row.options, target.choice)]

    def metrics(self, completion: str, target: StreamChoiceTarget, rewards: Rewards) -> dict[str, float]:
        read = parse_choice(answer_text(completion) or "")
        return {
            "accuracy": rewards["choice_accuracy"](completion, target).value,
            "answered": float(read is not None),
        }

    def corpus_metrics(self, judged: Sequence[tuple[StreamChoiceTarget, Mapping[str, float]]]) -> dict[str, float]:
        """Mean over the kinds of question of their accuracies, as OVBench's table counts."""
        by_kind: dict[str, list[float]] = defaultdict(list)
        for target, values in judged:
            by_kind[target.kind].append(values["accuracy"])
        means = [sum(values) / len(values) for values in by_kind.values()]
        return {"mean_over_kinds": sum(means) / len(means)}

    def baselines(self, train: Sequence[StreamChoiceTarget], rows: HeldOut[StreamChoiceTarget]) -> Answers:
        known = train or [target for target, _ in rows]
        letters: dict[str, list[str]] = defaultdict(list)
        for target in known:
            letters[target.kind].append(target.choice)
        overall = majority([target.choice for target in known]) or "A"
        of_kind = {kind: majority(choices) or overall for kind, choices in letters.items()}
        return {
            "majority": [f"<answer>{overall}</answer>"] * len(rows),
            "majority of the kind": [f"<answer>{of_kind.get(target.kind, overall)}</answer>" for target, _ in rows],
        }


class StreamCount(Task):
    name = "stream_count"
    row_type = StreamRow
    target_type = CountTarget
    example = StreamRow(
        id="example",
        task="stream_count",
        video="gym.mp4",
        end_s=12.0,
        question="How often has the man jumped so far?",
        target={"count": 3},
    )
    rewards = (("count_match", 1.0),)
    own_rewards: ClassVar[Rewards] = {"count_match": count_match}
    main_metric = "accuracy"

    def question(self, row: StreamRow, target: CountTarget) -> str:
        return f"{_now(row)}{row.question.strip()} Give the number."

    def row_problems(self, row: StreamRow, target: CountTarget) -> list[str]:
        return _time_problems(row)

    def metrics(self, completion: str, target: CountTarget, rewards: Rewards) -> dict[str, float]:
        count = answered_count(answer_text(completion) or "")
        return {
            "accuracy": rewards["count_match"](completion, target).value,
            "within_1": float(count is not None and abs(count - target.count) <= 1),
        }

    def baselines(self, train: Sequence[CountTarget], rows: HeldOut[CountTarget]) -> Answers:
        count = majority([str(target.count) for target in train or [target for target, _ in rows]])
        return {"majority": [f"<answer>{count}</answer>"] * len(rows)} if count else {}


class StreamReply(Task):
    name = "stream_reply"
    row_type = StreamRow
    target_type = ReplyTarget
    example = StreamRow(
        id="example",
        task="stream_reply",
        video="match.mp4",
        end_s=12.0,
        question="When a goal is shown, say: a goal.",
        target={"due_s": 8.0, "text": "a goal"},
    )
    rewards = (("reply_in_time", 1.0),)
    own_rewards: ClassVar[Rewards] = {"reply_in_time": reply_in_time}
    main_metric = "in_time"

    def question(self, row: StreamRow, target: ReplyTarget) -> str:
        return (
            f"{_now(row)}{row.question.strip()} Give the time in seconds from which on it can be said, and the words; "
            f"if it cannot be said yet, answer {WAIT}."
        )

    def row_problems(self, row: StreamRow, target: ReplyTarget) -> list[str]:
        return _time_problems(row)

    def metrics(self, completion: str, target: ReplyTarget, rewards: Rewards) -> dict[str, float]:
        reply = answered_reply(answer_text(completion) or "")
        value = rewards["reply_in_time"](completion, target).value
        waits = reply is not None and reply[0] is None
        return {"in_time": value, "right_to_wait": float(reply is not None and waits == (target.due_s is None))}

    def baselines(self, train: Sequence[ReplyTarget], rows: HeldOut[ReplyTarget]) -> Answers:
        text = majority([target.text for target in train])
        answers = {WAIT: [f"<answer>{WAIT}</answer>"] * len(rows)}
        lengths = [clip_s for _, clip_s in rows]
        if text and None not in lengths:
            answers["at_the_end"] = [f"<answer>{clip_s:g}: {text}</answer>" for clip_s in lengths]
        return answers
