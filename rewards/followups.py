"""Rewards that later work gave grounding models, in place of the plain overlap."""

from rewards.geometry import interval_iou
from rewards.grounding import read_span, union_iou
from rewards.parsing import answer_text, parse_spans, tag_text
from rewards.types import GroundedChoiceTarget, Score, SpanTarget


def endpoint_iou(completion: str, target: SpanTarget) -> Score:
    """IoU, scaled down by how far start and end are off: IoU * (1 - |ds| / T) * (1 - |de| / T), in [0, 1].

    T is the length of the clip; an end that is off by more than T counts as off by T. Raises ValueError where the
    target does not tell T. Source: Time-R1, arXiv:2503.13377.
    """
    if target.duration_s is None:
        raise ValueError("endpoint_iou needs the length of the clip: give duration_s (or end_s) in the rows")
    span = read_span(completion)
    if isinstance(span, Score):
        return span
    iou = interval_iou(span, (target.start_s, target.end_s))
    off = (abs(span[0] - target.start_s), abs(span[1] - target.end_s))
    near_start, near_end = (max(0.0, 1.0 - seconds / target.duration_s) for seconds in off)
    note = f"IoU {iou:.3f}, start off by {off[0]:.2f} s, end by {off[1]:.2f} s"
    return Score(iou * near_start * near_end, answer_text(completion), note)


def generalised_iou(completion: str, target: SpanTarget) -> Score:
    """(1 + GIoU) / 2 of the answered and the true span, in [0, 1]: spans that do not overlap earn by nearness.

    GIoU is IoU less the share of the hull of both that neither covers; two spans that touch earn 0.5, distant ones
    tend to 0. Not readable or reversed: 0. Source: Rezatofighi et al., arXiv:1902.09630, there for boxes.
    """
    span = read_span(completion)
    if isinstance(span, Score):
        return span
    truth = (target.start_s, target.end_s)
    hull = max(span[1], truth[1]) - min(span[0], truth[0])
    gap = max(span[0], truth[0]) - min(span[1], truth[1])
    giou = interval_iou(span, truth) - max(0.0, gap) / hull
    return Score((1.0 + giou) / 2.0, answer_text(completion), f"generalised IoU {giou:.3f}")


def at_most_spans(completion: str, target: GroundedChoiceTarget, *, most: int = 3, min_iou: float = 0.0) -> Score:
    """`union_iou`, but 0 for an answer of more than `most` spans, which could cover the truth by their number alone.

    Spans count as written, also where they overlap. Source: VideoChat-R1.5, arXiv:2509.21100.
    """
    answer = tag_text(completion, "glue")
    spans = parse_spans(answer) if answer is not None else None
    if spans is not None and len(spans) > most:
        return Score(0.0, answer, f"{len(spans)} spans, at most {most} are allowed", "wrong_count")
    return union_iou(completion, target, min_iou=min_iou)
