"""Tasks along a stream: a question with options at a time, a count so far, yes or no, and an answer in time."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field

from rewards.parsing import answer_text, parse_choice
from rewards.types import Target
from rft.packs.streams.published import released_choice, released_count, released_reply, released_yes_no
from rft.packs.streams.rewards import count_match, reply_in_time, yes_no_match
from rft.packs.streams.targets import (
    WAIT,
    CountTarget,
    ReplyTarget,
    StreamChoiceTarget,
    YesNoTarget,
    answered_count,
    answered_reply,
)
from rft.tasks.multiple_choice import MultipleChoiceRow
from rft.tasks.types import Answers, HeldOut, Rewards, Row, Task, majority, option_lines, option_problems


class StreamRow(Row):
    question: str = Field(min_length=1)


def _time_problems(row: Row) -> list[str]:
    if row.video is not None and row.end_s is None:
        return ["end_s: missing; it is the time of the question, after which nothing is seen"]
    return []


def _now(row: Row) -> str:
    return "" if row.end_s is None else f"It is now {row.end_s - (row.start_s or 0.0):g} seconds into the video. "


def _majority_answers(train: Sequence[Target], rows: HeldOut[Target]) -> Answers:
    """The most frequent answer, of the rows themselves where there are no training targets."""
    answer = majority([target.category() or "" for target in train or [target for target, _ in rows]])
    return {"majority": [f"<answer>{answer}</answer>"] * len(rows)} if answer else {}


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
    published_rewards: ClassVar[Rewards] = {"count_match": released_count}
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
        return _majority_answers(train, rows)


class StreamYesNo(Task):
    name = "stream_yes_no"
    row_type = StreamRow
    target_type = YesNoTarget
    example = StreamRow(
        id="example",
        task="stream_yes_no",
        video="kitchen.mp4",
        end_s=12.0,
        question="Is the person now doing this step: stir the soup?",
        target={"yes": True},
    )
    rewards = (("yes_no_match", 1.0),)
    own_rewards: ClassVar[Rewards] = {"yes_no_match": yes_no_match}
    published_rewards: ClassVar[Rewards] = {"yes_no_match": released_yes_no}
    main_metric = "accuracy"

    def question(self, row: StreamRow, target: YesNoTarget) -> str:
        return f"{_now(row)}{row.question.strip()} Answer Yes or No."

    def row_problems(self, row: StreamRow, target: YesNoTarget) -> list[str]:
        return _time_problems(row)

    def metrics(self, completion: str, target: YesNoTarget, rewards: Rewards) -> dict[str, float]:
        return {"accuracy": rewards["yes_no_match"](completion, target).value}

    def baselines(self, train: Sequence[YesNoTarget], rows: HeldOut[YesNoTarget]) -> Answers:
        return _majority_answers(train, rows)


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
    published_rewards: ClassVar[Rewards] = {"reply_in_time": released_reply}
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
