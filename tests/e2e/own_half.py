"""A task with its kind of target, and a reward that sees every fact: what a recipe names by path."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from rewards import RewardFn
from rewards.facts import CompletionGroup
from rewards.parsing import answer_text
from rewards.types import Fault, Score, Target
from rft.tasks.types import Row, Task


@dataclass(frozen=True, slots=True)
class HalfTarget(Target):
    """In which half of the clip something begins: HalfTarget(2)."""

    json_form = '{"half": 1}'
    json_keys = (("half",),)
    answer_form = "<answer>1 or 2</answer>"

    half: int

    @classmethod
    def from_json(cls, data: Mapping[str, object], problems: list[str]) -> Self:
        half = data["half"]
        if not isinstance(half, int) or half not in (1, 2):
            problems.append(f"half: {half!r} is not 1 or 2")
            return cls(1)
        return cls(half)

    def to_json(self) -> dict[str, object]:
        return {"half": self.half}

    def written(self) -> str:
        return f"<answer>{self.half}</answer>"

    def format_problem(self, answer: str, completion: str) -> tuple[str, Fault] | None:
        return None if answer in ("1", "2") else ("the answer is not 1 or 2", "unreadable")


def right_half(completion: str, target: HalfTarget) -> Score:
    """1 if the last <answer> is the half, else 0."""
    answer = answer_text(completion)
    return Score(float(answer == str(target.half)), answer, "")


async def all_facts(
    completion: str,
    target: HalfTarget,
    *,
    row: Mapping[str, Any],
    num_tokens: int,
    truncated: bool,
    group: CompletionGroup,
    logprobs: tuple[float, ...],
    concurrency: int = 2,
) -> Score:
    """1; the note holds the facts."""
    assert group.texts[group.index] == completion
    assert len(logprobs) == num_tokens
    return Score(1.0, None, f"{row['task']}: {len(group.texts)} texts, {num_tokens} tokens, truncated {truncated}")


class HalfRow(Row):
    query: str


class Half(Task):
    name = "half"
    row_type = HalfRow
    target_type = HalfTarget
    example = HalfRow(id="e", task="half", video="a.mp4", query="the ball bounces", target={"half": 2})
    rewards = (("right_half", 1.0),)
    own_rewards: Mapping[str, RewardFn] = {"right_half": right_half}
    main_metric = "accuracy"

    def question(self, row: HalfRow, target: HalfTarget) -> str:
        return f"In which half of the video does this begin: {row.query}?"

    def metrics(self, completion: str, target: HalfTarget, rewards: Mapping[str, RewardFn]) -> dict[str, float]:
        return {"accuracy": rewards["right_half"](completion, target).value}
