"""Task video_reasoning: operations in a video, the state that they hide, and what follows from it."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar

from pydantic import Field

from rft.packs.video_reasoning.demonstrations.types import IllegalOperation, Items, simulated
from rft.packs.video_reasoning.questions import question_about
from rft.packs.video_reasoning.rewards import published_answer, verified_answer
from rft.packs.video_reasoning.targets import ReasoningTarget
from rft.tasks.types import Answers, HeldOut, Rewards, Row, Task


class ReasoningRow(Row):
    question: str | None = Field(None, min_length=1)
    """Introduction and question; default: our own words for what the target asks."""


class VideoReasoning(Task):
    name = "video_reasoning"
    row_type = ReasoningRow
    target_type = ReasoningTarget
    example = ReasoningRow(
        id="example",
        task="video_reasoning",
        video="cups.mp4",
        target={
            "demonstration": "cup",
            "skill": "infer state",
            "visible": "start",
            "start": [[1, 0, 0]],
            "operations": ["(a1, a3)", "(a2, a3)"],
            "ask": {},
        },
    )
    rewards = (("verified_answer", 1.0),)
    own_rewards: ClassVar[Rewards] = {"verified_answer": verified_answer}
    published_rewards: ClassVar[Rewards] = {"verified_answer": published_answer}
    main_metric = "accuracy"

    def question(self, row: ReasoningRow, target: ReasoningTarget) -> str:
        return row.question.strip() if row.question else question_about(target)

    def metrics(self, completion: str, target: ReasoningTarget, rewards: Rewards) -> dict[str, float]:
        return {"accuracy": rewards["verified_answer"](completion, target).value}

    def baselines(self, train: Sequence[ReasoningTarget], rows: HeldOut[ReasoningTarget]) -> Answers:
        """`majority`: the most frequent answer of the row's demonstration and skill; `no_change`: as if nothing moved.

        `no_change` knows the state that is shown and answers as if the operations of the video left it as it is.
        """
        common: dict[tuple[str, str], Counter[str]] = {}
        for target in train or [target for target, _ in rows]:
            common.setdefault((target.demonstration, target.skill), Counter())[target.written()] += 1
        majority = [
            counts.most_common(1)[0][0] if (counts := common.get((target.demonstration, target.skill))) else ""
            for target, _ in rows
        ]
        return {"majority": majority, "no_change": [_unchanged(target) for target, _ in rows]}


def _unchanged(target: ReasoningTarget) -> str:
    """The answer of one who takes the shown state for the latent one."""
    rules, ask, state = target.rules, target.ask, target.video.observed
    answer = Items(())
    if target.skill == "predict operation":
        answer = Items(rules.solution(state, ask) or ())
    elif target.skill in ("infer state", "predict state"):
        with suppress(IllegalOperation):
            answer = rules.shown(simulated(rules, state, ask.operations)[-1], ask)
    return f"<answer>{answer.written()}</answer>"
