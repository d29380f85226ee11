"""Task tracking: follow an object from its first box; the answer is one box per queried time."""

from collections.abc import Sequence
from statistics import fmean as mean
from statistics import median

from pydantic import Field

from rewards import PUBLISHED_EVAL, REWARDS
from rewards.published import evaluated_box_ious
from rewards.targets.boxes import BoxesTarget, write_box
from rewards.tracking import box_ious
from rft.tasks.types import Answers, HeldOut, Rewards, Row, Task

BOX_IOUS = {REWARDS["mean_box_iou"]: box_ious, PUBLISHED_EVAL["mean_box_iou"]: evaluated_box_ious}
"""Reward of each parser -> function of the IoUs of the single boxes, whose mean the reward is."""


class TrackingRow(Row):
    object: str = Field(min_length=1)
    """What to follow, in words."""


class Tracking(Task):
    name = "tracking"
    row_type = TrackingRow
    target_type = BoxesTarget
    example = TrackingRow(
        id="example",
        task="tracking",
        video="sloth",
        source_fps=10.0,
        object="sloth",
        target={"boxes": [[0.1, 0.2, 0.3, 0.45], [0.12, 0.2, 0.32, 0.45], [0.3, 0.25, 0.52, 0.5]]},
    )
    rewards = (("mean_box_iou", 1.0),)
    main_metric = "overlap"

    def question(self, row: TrackingRow, target: BoxesTarget) -> str:
        return (
            f"Follow the {row.object.strip()} through the video. Its first box is {write_box(target.boxes[0])}: "
            "left, top, right, bottom, as parts of the width and height. "
            f"Give {len(target.boxes)} such boxes, evenly spaced in time, beginning with the first."
        )

    def metrics(self, completion: str, target: BoxesTarget, rewards: Rewards) -> dict[str, float]:
        # Rounded, so that no threshold depends on the last digit.
        ious = [round(iou, 9) for iou in BOX_IOUS[rewards["mean_box_iou"]](completion, target)]
        overlap, moved = mean(ious), mean(ious[1:])
        return {
            "overlap": moved,
            "R@0.5": float(moved >= 0.5),
            "R@0.7": float(moved >= 0.7),
            "overlap_with_start": overlap,
            "R@0.5_with_start": float(overlap >= 0.5),
            "R@0.7_with_start": float(overlap >= 0.7),
            "AO": moved,
            "SR@0.5": mean(iou > 0.5 for iou in ious[1:]),
            "SR@0.75": mean(iou > 0.75 for iou in ious[1:]),
        }

    def baselines(self, train: Sequence[BoxesTarget], rows: HeldOut[BoxesTarget]) -> Answers:
        targets = [target for target, _ in rows]
        answers = {"start_box": [BoxesTarget(target.boxes[:1] * len(target.boxes)) for target in targets]}
        boxes = [box for target in train for box in target.boxes[1:]]
        if boxes:
            x0, y0, x1, y1 = (round(median(values), 3) for values in zip(*boxes, strict=True))
            answers["best_constant"] = [BoxesTarget(((x0, y0, x1, y1),) * len(target.boxes)) for target in targets]
        return {name: [target.written() for target in targets] for name, targets in answers.items()}
