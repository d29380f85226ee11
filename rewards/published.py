"""The rewards of the code released with VideoChat-R1 (arXiv:2504.06958): its value for any completion.

docs/readings.md lists where it differs from our own parser, line by line. Where that code raises an error or returns a
number outside [0, 1], the value is 0 and the note says so.
"""

import math
from collections.abc import Callable, Sequence

from rewards.choice import choice_score
from rewards.geometry import spans_iou
from rewards.grounding import overlap_score
from rewards.parsing import read_once
from rewards.published_parsing import (
    first_block,
    first_letter,
    glue_pairs,
    has_blocks,
    last_block,
    last_range,
    python_list,
)
from rewards.targets.boxes import BoxesTarget
from rewards.targets.choice import ChoiceTarget
from rewards.targets.grounded_choice import GroundedChoiceTarget
from rewards.targets.label import LabelTarget
from rewards.targets.span import SpanTarget
from rewards.tracking import boxes_note, leaves_the_frame
from rewards.types import Fault, Score, Span, Target


def temporal_iou(completion: str, target: SpanTarget) -> Score:
    """IoU of the true span and the last "number to number" inside the last <answer>, in [0, 1]."""
    answer = last_block(completion, "answer")
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    return _span_score(last_range(answer, any_case=True), answer, target)


def evaluated_temporal_iou(completion: str, target: SpanTarget) -> Score:
    """IoU of the true span and the last lower-case "number to number" anywhere in the completion, in [0, 1]."""
    span = last_range(completion, any_case=False)
    return _span_score(span, None if span is None else f"{span[0]:g} to {span[1]:g}", target)


def _span_score(span: Span | None, answer: str | None, target: SpanTarget) -> Score:
    if span is None or answer is None:
        return Score(0.0, answer, "no 'number to number' with one blank at each side", "unreadable")
    start, end = span
    if end < start:
        return Score(0.0, answer, "the span ends before it starts", "reversed")
    hull = max(end, target.end_s) - min(start, target.start_s)
    if hull <= 0 or start == math.inf:
        return Score(0.0, answer, "nothing to divide by; the released code fails here")
    iou = max(0.0, min(end, target.end_s) - max(start, target.start_s)) / hull
    return overlap_score(iou, answer, (span,), target.duration_s)


def union_iou(completion: str, target: GroundedChoiceTarget) -> Score:
    """IoU of all answered and all true seconds, in [0, 1]; 1 if both have length 0.

    Reads the first <glue>, which must be exactly a list of pairs in round brackets.
    """
    answer = first_block(completion, "glue")
    if answer is None:
        return Score(0.0, None, "no <glue>", "no_tag")
    pairs = glue_pairs(answer)
    problem = _glue_problem(pairs)
    if pairs is None or problem:
        return Score(0.0, answer, *(problem or ()))
    if all(start == end for start, end in (*pairs, *target.spans)):
        return Score(1.0, answer, "neither the answer nor the target has any length")
    try:
        iou = spans_iou(pairs, target.spans)
    except OverflowError:
        return Score(0.0, answer, "a number is too large; the released code fails here")
    if not pairs:
        return Score(iou, answer, "no spans inside <glue>", "wrong_count")
    return overlap_score(iou, answer, pairs, target.duration_s)


def _glue_problem(pairs: Sequence[tuple[float, float]] | None) -> tuple[str, Fault] | None:
    if pairs is None:
        return "the glue is not, to the letter, a list like [(1.5, 3.0), (7, 9)]", "unreadable"
    if any(start > end for start, end in pairs):
        return "a span of the glue ends before it starts", "reversed"
    return None


def mean_box_iou(completion: str, target: BoxesTarget, *, skip_start: bool = False) -> Score:
    """Mean IoU of answered and true boxes, the given start box counted, in [0, 1].

    Reads the first <answer>, after removing line breaks from the completion, as a Python list of as many lists
    of four as the target has boxes: eight in the published data. `skip_start`, our addition, leaves out that box.
    """
    return _judge_boxes(first_block(completion.replace("\n", ""), "answer"), target, skip_start)[0]


def evaluated_mean_box_iou(completion: str, target: BoxesTarget, *, skip_start: bool = False) -> Score:
    """`mean_box_iou` with line breaks removed from the answer only: a line break inside a tag is not repaired."""
    return _judge_boxes(first_block(completion, "answer"), target, skip_start)[0]


def evaluated_box_ious(completion: str, target: BoxesTarget) -> tuple[float, ...]:
    """IoU of each answered box, the start box first, in [0, 1], as `evaluated_mean_box_iou` reads them; else all 0."""
    _, ious = _judge_boxes(first_block(completion, "answer"), target, skip_start=False)
    return tuple(min(1.0, iou) for iou in ious) or (0.0,) * len(target.boxes)


def _judge_boxes(answer: str | None, target: BoxesTarget, skip_start: bool) -> tuple[Score, list[float]]:
    """(score, IoU of each box that counts); [] if the boxes cannot be judged."""
    first = 1 if skip_start else 0
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag"), []
    boxes, problem = _boxes(answer, len(target.boxes))
    if problem:
        return Score(0.0, answer, *problem), []
    if len(boxes) <= first:
        return Score(0.0, answer, "no box after the start box to judge"), []
    try:
        ious = list(map(_box_iou, boxes[first:], target.boxes[first:]))
        fault: Fault | None = "out_of_range" if leaves_the_frame(boxes) else None
        mean = _mean(ious)
    except (TypeError, OverflowError):
        return Score(0.0, answer, "a coordinate is no number", "unreadable"), []
    if not math.isfinite(mean):
        endless = "a coordinate is endless; the released code returns no number"
        return Score(0.0, answer, endless, "out_of_range"), []
    # Rounding may leave the mean a last digit above 1.
    return Score(min(1.0, mean), answer, boxes_note(mean, ious, fault), fault), ious


@read_once
def _boxes(answer: str, count: int) -> tuple[list[list[float]], tuple[str, Fault] | None]:
    """The lists of four, with any elements, or why the answer is not `count` of them."""
    boxes = python_list(answer.replace("\n", ""))
    if boxes is None:
        return [], ("the answer is not, as it stands, a Python list", "unreadable")
    if len(boxes) != count:
        return [], (f"{len(boxes)} boxes, asked for {count}", "wrong_count")
    quadruples = [box for box in boxes if isinstance(box, list) and len(box) == 4]
    return quadruples, None if len(quadruples) == count else ("a box is no list of four", "unreadable")


def _box_iou(a: Sequence[float], b: Sequence[float]) -> float:
    """The released IoU: signed areas, 0 for an empty union. Endless coordinates give NaN, odd ones TypeError."""
    (a0, a1, a2, a3), (b0, b1, b2, b3) = a, b
    width = (b2 if b2 < a2 else a2) - (b0 if b0 > a0 else a0)
    height = (b3 if b3 < a3 else a3) - (b1 if b1 > a1 else a1)
    common = width * height if width > 0 and height > 0 else 0
    union = (a2 - a0) * (a3 - a1) + (b2 - b0) * (b3 - b1) - common
    return 0.0 if union == 0 else common / union


def _mean(values: Sequence[float]) -> float:
    """The mean, eight values added in NumPy's order, which decides the last digit."""
    if len(values) == 8:
        a, b, c, d, e, f, g, h = values
        return (((a + b) + (c + d)) + ((e + f) + (g + h))) / 8
    return sum(values) / len(values)


def choice_accuracy(completion: str, target: ChoiceTarget | GroundedChoiceTarget) -> Score:
    """1 if the first capital A to G inside the first <answer> is the right letter, else 0."""
    answer = first_block(completion, "answer")
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    letter = first_letter(answer)
    if letter is None:
        return Score(0.0, answer, "no capital A to G inside <answer>", "unreadable")
    return choice_score(letter, answer, target.choice)


def label_match(completion: str, target: LabelTarget) -> Score:
    """1 if the first <answer> is the right label, ignoring capitals and outer blanks; else 0."""
    answer = first_block(completion, "answer")
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    if answer.strip().lower() != target.label.strip().lower():
        return Score(0.0, answer, f"not '{target.label}'")
    return Score(1.0, answer, "the right label")


# The released format rewards depend on the kind of target in their own way, so `target.format_problem` is not used.
def think_format(completion: str, target: Target) -> Score:
    """1 for the blocks <think>, <answer> and, where the target is a letter, <glue>; else 0.

    Boxes and glue must be readable; any other block may hold anything, further tags included. The released format
    reward of plain questions asks for <glue> although their prompt does not.
    """
    return _format(completion, target, ("think", "answer"))


def answer_format(completion: str, target: Target) -> Score:
    """1 for the blocks of `think_format` without <think>, which labels need nevertheless; else 0.

    No such code is released for spans and boxes: for them this is `think_format` without its first block.
    """
    return _format(completion, target, ("think", "answer") if isinstance(target, LabelTarget) else ("answer",))


def _format(completion: str, target: Target, tags: tuple[str, ...]) -> Score:
    grounded = isinstance(target, (ChoiceTarget, GroundedChoiceTarget))
    tags = (*tags, "glue") if grounded else tags
    answer = first_block(completion, "answer")
    if not has_blocks(completion, tags):
        missing = any(tag not in completion for name in tags for tag in (f"<{name}>", f"</{name}>"))
        blocks = "".join(f"<{name}>..</{name}>" for name in tags)
        return Score(0.0, answer, f"not {blocks} alone", "no_tag" if missing else None)
    problem = None
    if grounded:
        problem = _glue_problem(glue_pairs(first_block(completion, "glue") or ""))
    elif isinstance(target, BoxesTarget):
        problem = _boxes(answer or "", len(target.boxes))[1]
    return Score(0.0, answer, *problem) if problem else Score(1.0, answer, "well formed")


_TRAINING = (temporal_iou, union_iou, mean_box_iou, choice_accuracy, label_match, think_format, answer_format)
PUBLISHED: dict[str, Callable[..., Score]] = {reward.__name__: reward for reward in _TRAINING}
"""Reward name -> released training reward."""

PUBLISHED_EVAL: dict[str, Callable[..., Score]] = {
    **PUBLISHED,
    "temporal_iou": evaluated_temporal_iou,
    "mean_box_iou": evaluated_mean_box_iou,
}
"""Reward name -> reward as the released evaluation scripts compute it. For an unreadable answer those keep the value of
the row before, or drop the row; here the value is 0 and counts."""
