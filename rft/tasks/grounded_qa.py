"""Task grounded_qa: choose the right option and give the time spans of the video that show it."""

from collections.abc import Sequence

from rewards.parsing import parse_spans
from rewards.targets.grounded_choice import GroundedChoiceTarget
from rewards.types import Score
from rft.tasks.multiple_choice import MultipleChoiceRow
from rft.tasks.spans import intersection_over_prediction, span_baselines
from rft.tasks.types import Answers, HeldOut, Rewards, Task, majority, option_lines, option_problems


class GroundedQA(Task):
    name = "grounded_qa"
    row_type = MultipleChoiceRow
    target_type = GroundedChoiceTarget
    example = MultipleChoiceRow(
        id="example",
        task="grounded_qa",
        video="garden.mp4",
        duration_s=37.0,
        question="What does the boy do after he falls?",
        options=("He cries", "He gets up", "He runs away"),
        target={"choice": "B", "spans": [[1.5, 3.0], [20.0, 24.5]]},
    )
    rewards = (("union_iou", 1.0), ("choice_accuracy", 1.0))
    main_metric = "grounded_mIoU"

    def question(self, row: MultipleChoiceRow, target: GroundedChoiceTarget) -> str:
        return (
            f"{row.question.strip()}\n{option_lines(row.options)}\n"
            "Give the letter of the right option, and when the video shows it: "
            "start and end in seconds of each such part."
        )

    def row_problems(self, row: MultipleChoiceRow, target: GroundedChoiceTarget) -> list[str]:
        return option_problems(row.options, target.choice)

    def metrics(self, completion: str, target: GroundedChoiceTarget, rewards: Rewards) -> dict[str, float]:
        right = rewards["choice_accuracy"](completion, target).value
        grounding = rewards["union_iou"](completion, target)
        iou, iop = grounding.value, _iop(grounding, target)
        return {
            "grounded_mIoU": right * iou,
            "accuracy": right,
            "mIoU": iou,
            "IoU@0.3": float(iou >= 0.3),
            "IoU@0.5": float(iou >= 0.5),
            "mIoP": iop,
            "IoP@0.3": float(iop >= 0.3),
            "IoP@0.5": float(iop >= 0.5),
            "Acc@GQA": right * (iop >= 0.5),
        }

    def baselines(self, train: Sequence[GroundedChoiceTarget], rows: HeldOut[GroundedChoiceTarget]) -> Answers:
        letter = majority([target.choice for target in train or [target for target, _ in rows]]) or "A"
        spans = span_baselines([target.spans for target in train], [clip_s for _, clip_s in rows])
        answers = {name: [GroundedChoiceTarget(letter, (span,)).written() for span in spans[name]] for name in spans}
        return {**answers, "majority": [GroundedChoiceTarget(letter, ()).written()] * len(rows)}


def _iop(grounding: Score, target: GroundedChoiceTarget) -> float:
    """Share of the answered seconds inside the target spans, in [0, 1]; 0 if the IoU is 0 or nothing is readable."""
    spans = parse_spans(grounding.answer) if grounding.answer and grounding.value > 0 else None
    return intersection_over_prediction(spans, target.spans) if spans else 0.0
