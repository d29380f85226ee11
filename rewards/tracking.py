"""Rewards for answers that are boxes."""

from collections.abc import Collection, Sequence
from itertools import chain

from rewards.geometry import box_iou
from rewards.parsing import answer_text, parse_boxes
from rewards.targets.boxes import BoxesTarget
from rewards.types import Box, Fault, Score


def mean_box_iou(completion: str, target: BoxesTarget, *, skip_start: bool = True) -> Score:
    """Mean IoU of answered and true boxes, pair by pair in time order, in [0, 1].

    Reads the last <answer> as a list of [x0, y0, x1, y1]. Not readable, or not as many boxes as the target: 0. A box
    that is reversed or without area has IoU 0, and the others keep theirs.
    `skip_start` leaves out the start box, which the prompt gives away; False counts it, as VideoChat-R1
    (arXiv:2504.06958) does.
    """
    boxes = _read_boxes(completion, target)
    if isinstance(boxes, Score):
        return boxes
    fault: Fault | None = "out_of_range" if leaves_the_frame(boxes) else None
    first = 1 if skip_start else 0
    answer, ious = answer_text(completion), list(map(box_iou, boxes[first:], target.boxes[first:]))
    if not ious:
        return Score(0.0, answer, "no box after the start box to judge", fault)
    mean = sum(ious) / len(ious)
    return Score(mean, answer, boxes_note(mean, ious, fault), fault)


def box_ious(completion: str, target: BoxesTarget) -> tuple[float, ...]:
    """IoU of each answered box with the target's, the start box first, in [0, 1]; `mean_box_iou` is their mean.

    All 0 where the answer cannot be read or has not as many boxes as the target.
    """
    boxes = _read_boxes(completion, target)
    return (0.0,) * len(target.boxes) if isinstance(boxes, Score) else tuple(map(box_iou, boxes, target.boxes))


def _read_boxes(completion: str, target: BoxesTarget) -> tuple[Box, ...] | Score:
    """Boxes of the last <answer>, as many as the target has; or the score of a completion without them."""
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    boxes = parse_boxes(answer)
    if boxes is None:
        return Score(0.0, answer, "no list of [x0, y0, x1, y1] inside <answer>", "unreadable")
    if len(boxes) != len(target.boxes):
        return Score(0.0, answer, f"{len(boxes)} boxes, asked for {len(target.boxes)}", "wrong_count")
    return boxes


def leaves_the_frame(boxes: Collection[Sequence[float]]) -> bool:
    """Whether a box reaches outside [0, 1]."""
    coordinates = list(chain.from_iterable(boxes))
    return min(coordinates, default=0) < 0 or max(coordinates, default=1) > 1


def boxes_note(mean: float, ious: Sequence[float], fault: Fault | None) -> str:
    """Note of a score for readable boxes."""
    note = f"mean IoU {mean:.3f} over {len(ious)} boxes, lowest {min(ious):.3f}"
    return f"{note}; a box leaves [0, 1]" if fault else note
