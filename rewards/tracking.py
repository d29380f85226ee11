"""Rewards for answers that are boxes."""

from collections.abc import Collection, Sequence
from itertools import chain

from rewards.geometry import box_iou
from rewards.parsing import answer_text, parse_boxes
from rewards.types import BoxesTarget, Fault, Score


def mean_box_iou(completion: str, target: BoxesTarget, *, skip_start: bool = True) -> Score:
    """Mean IoU of answered and true boxes, pair by pair in time order, in [0, 1].

    Reads the last <answer> as a list of [x0, y0, x1, y1]. Not readable, or not as many boxes as the target: 0.
    `skip_start` leaves out the start box, which the prompt gives away; False counts it, as VideoChat-R1
    (arXiv:2504.06958) does.
    """
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    boxes = parse_boxes(answer)
    if boxes is None:
        return Score(0.0, answer, "no list of [x0, y0, x1, y1] inside <answer>", "unreadable")
    if len(boxes) != len(target.boxes):
        return Score(0.0, answer, f"{len(boxes)} boxes, asked for {len(target.boxes)}", "wrong_count")
    first = 1 if skip_start else 0
    fault: Fault | None = "out_of_range" if leaves_the_frame(boxes) else None
    ious = list(map(box_iou, boxes[first:], target.boxes[first:]))
    if not ious:
        return Score(0.0, answer, "no box after the start box to judge", fault)
    mean = sum(ious) / len(ious)
    return Score(mean, answer, boxes_note(mean, ious, fault), fault)


def leaves_the_frame(boxes: Collection[Sequence[float]]) -> bool:
    """Whether a box reaches outside [0, 1]."""
    coordinates = list(chain.from_iterable(boxes))
    return min(coordinates, default=0) < 0 or max(coordinates, default=1) > 1


def boxes_note(mean: float, ious: Sequence[float], fault: Fault | None) -> str:
    """What a person reads about boxes that were judged."""
    note = f"mean IoU {mean:.3f} over {len(ious)} boxes, lowest {min(ious):.3f}"
    return f"{note}; a box leaves [0, 1]" if fault else note
