"""Task quality: choose the label of a fixed set that fits the clip."""

from collections.abc import Sequence

from pydantic import Field

from rewards.parsing import parse_words
from rewards.targets.label import LabelTarget
from rft.tasks.types import Answers, HeldOut, Rewards, Row, Task, majority


class QualityRow(Row):
    question: str = Field(min_length=1)
    """The instruction, such as what to judge and how."""
    labels: tuple[str, ...] = Field(min_length=2)
    """All allowed labels."""

    @property
    def num_options(self) -> int:
        return len(self.labels)


class Quality(Task):
    name = "quality"
    row_type = QualityRow
    target_type = LabelTarget
    example = QualityRow(
        id="example",
        task="quality",
        video="garden.mp4",
        question="Judge the quality of this video: how it looks, and how well it was recorded.",
        labels=("low quality", "high quality"),
        target={"label": "high quality"},
    )
    rewards = (("label_match", 1.0),)
    main_metric = "accuracy"

    def question(self, row: QualityRow, target: LabelTarget) -> str:
        return f"{row.question.strip()}\nAnswer with one of these labels: {', '.join(row.labels)}."

    def row_problems(self, row: QualityRow, target: LabelTarget) -> list[str]:
        problems = []
        words = [parse_words(label) for label in row.labels]
        if () in words:
            problems.append(f"labels: {row.labels[words.index(())]!r} holds no words")
        elif len(set(words)) < len(words):
            same = ", ".join(row.labels)
            problems.append(f"labels: two of {same} are the same but for capitals, blanks or punctuation")
        if parse_words(target.label) not in words:
            problems.append(f"label: {target.label!r} is not among the labels {', '.join(row.labels)}")
        return problems

    def metrics(self, completion: str, target: LabelTarget, rewards: Rewards) -> dict[str, float]:
        return {"accuracy": rewards["label_match"](completion, target).value}

    def baselines(self, train: Sequence[LabelTarget], rows: HeldOut[LabelTarget]) -> Answers:
        label = majority([target.label for target in train or [target for target, _ in rows]])
        return {"majority": [LabelTarget(label).written()] * len(rows)} if label else {}
