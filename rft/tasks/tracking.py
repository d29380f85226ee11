"""Where an object is: its first box in, one box per asked moment out."""

from collections.abc import Mapping, Sequence
from statistics import fmean as mean
from statistics import median

from pydantic import Field

from rewards import RewardFn
from rewards.types import BoxesTarget
from rft.tasks.types import Row, Task, clip_problems, write_number

_FAR = 1e9
"""Coordinate that no box reaches."""


class TrackingRow(Row):
    object: str = Field(min_length=1)
    """What to follow, in words."""


def _list(numbers: Sequence[float]) -> str:
    return f"[{', '.join(write_number(number) for number in numbers)}]"


def _ask(row: TrackingRow, target: BoxesTarget) -> str:
    return (
        f"Follow the {row.object.strip()} through the video. Its first box is {_list(target.boxes[0])}: "
        "left, top, right, bottom, as parts of the width and height. "
        f"Give {len(target.boxes)} such boxes, evenly spaced in time, beginning with the first."
    )


def _check(row: TrackingRow, _target: BoxesTarget) -> list[str]:
    return clip_problems(row, {})


def _write(target: BoxesTarget) -> str:
    return f"<answer>[{', '.join(_list(box) for box in target.boxes)}]</answer>"


def _judge(completion: str, target: BoxesTarget, rewards: Mapping[str, RewardFn]) -> dict[str, float]:
    ious = _box_ious(completion, target, rewards["mean_box_iou"])
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


def _box_ious(completion: str, target: BoxesTarget, reward: RewardFn) -> tuple[float, ...]:
    """IoU of each answered box, the start box first, however `reward` reads the completion.

    The reward is a mean over boxes: with all true boxes but one out of reach, it tells the IoU of that one.
    """
    far = (_FAR, _FAR, _FAR + 1, _FAR + 1)
    num = len(target.boxes)
    alone = (
        BoxesTarget(tuple(box if i == place else far for i in range(num))) for place, box in enumerate(target.boxes)
    )
    return tuple(round(num * reward(completion, one, skip_start=False).value, 9) for one in alone)


def _baselines(train: Sequence[BoxesTarget], rows: Sequence[tuple[BoxesTarget, float | None]]) -> dict[str, list[str]]:
    targets = [target for target, _ in rows]
    answers = {"start_box": [BoxesTarget(target.boxes[:1] * len(target.boxes)) for target in targets]}
    boxes = [box for target in train for box in target.boxes[1:]]
    if boxes:
        x0, y0, x1, y1 = (round(median(values), 3) for values in zip(*boxes, strict=True))
        answers["best_constant"] = [BoxesTarget(((x0, y0, x1, y1),) * len(target.boxes)) for target in targets]
    return {name: [_write(target) for target in found] for name, found in answers.items()}


TRACKING = Task(
    name="tracking",
    row_type=TrackingRow,
    target_type=BoxesTarget,
    example=TrackingRow(
        id="example",
        task="tracking",
        video="sloth",
        source_fps=10.0,
        object="sloth",
        target={"boxes": [[0.1, 0.2, 0.3, 0.45], [0.12, 0.2, 0.32, 0.45], [0.3, 0.25, 0.52, 0.5]]},
    ),
    rewards=(("mean_box_iou", 1.0),),
    main_metric="overlap",
    ask=_ask,
    form="<answer>[[left, top, right, bottom], ...]</answer>",
    check=_check,
    write=_write,
    judge=_judge,
    baselines=_baselines,
)
