"""Rewards for answers that are times."""

from collections.abc import Iterable

from rewards.geometry import interval_giou, interval_iou, spans_iou
from rewards.parsing import answer_text, parse_span, parse_spans, tag_text
from rewards.targets.grounded_choice import GroundedChoiceTarget
from rewards.targets.span import SpanTarget
from rewards.types import Score, Span


def temporal_iou(completion: str, target: SpanTarget, *, min_iou: float = 0.0) -> Score:
    """IoU of the answered and the true time span, in [0, 1].

    Reads the last <answer> as "start to end", in seconds or minutes:seconds. Not readable, reversed, without length,
    or IoU below `min_iou`: 0. Source: VideoChat-R1, arXiv:2504.06958.
    """
    span = answered_span(completion)
    if isinstance(span, Score):
        return span
    iou = interval_iou(span, (target.start_s, target.end_s))
    return overlap_score(iou, answer_text(completion) or "", (span,), target.duration_s, min_iou)


def union_iou(completion: str, target: GroundedChoiceTarget, *, min_iou: float = 0.0) -> Score:
    """IoU of all answered and all true seconds, in [0, 1].

    Reads the last <glue> as "[(start, end), ...]", in seconds or minutes:seconds; overlapping spans count once, spans
    without length not at all. Not readable, empty, a reversed span, or IoU below `min_iou`: 0.
    Source: VideoChat-R1, arXiv:2504.06958.
    """
    answer = tag_text(completion, "glue")
    if answer is None:
        return Score(0.0, None, "no <glue>", "no_tag")
    spans = parse_spans(answer)
    if spans is None:
        return Score(0.0, answer, "no '[(start, end), ...]' inside <glue>", "unreadable")
    if not spans:
        return Score(0.0, answer, "no spans inside <glue>", "wrong_count")
    reversed_spans = [span for span in spans if span[1] < span[0]]
    if reversed_spans:
        return Score(0.0, answer, f"the span {reversed_spans[0]} ends before it starts", "reversed")
    return overlap_score(spans_iou(spans, target.spans), answer, spans, target.duration_s, min_iou)


def endpoint_iou(completion: str, target: SpanTarget) -> Score:
    """IoU, scaled down by how far start and end are off: IoU * (1 - |ds| / T) * (1 - |de| / T), in [0, 1].

    T is the length of the clip; an end that is off by more than T counts as off by T. Not readable, reversed, or
    without length: 0. Raises ValueError if the target has no `duration_s`, or it is not above 0. Source: Time-R1,
    arXiv:2503.13377.
    """
    if target.duration_s is None or target.duration_s <= 0:
        raise ValueError("endpoint_iou needs the length of the clip: give duration_s (or end_s) in the rows")
    span = answered_span(completion)
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
    tend to 0. An answer without length overlaps nothing: 0.5 inside the target, less outside. Not readable or reversed:
    0. Source: Rezatofighi et al., arXiv:1902.09630, there for boxes.
    """
    span = answered_span(completion)
    if isinstance(span, Score):
        return span
    giou = interval_giou(span, (target.start_s, target.end_s))
    return Score((1.0 + giou) / 2.0, answer_text(completion), f"generalised IoU {giou:.3f}")


def at_most_spans(completion: str, target: GroundedChoiceTarget, *, most: int = 3, min_iou: float = 0.0) -> Score:
    """`union_iou`, but 0 for an answer of more than `most` spans, which could cover the target by their number alone.

    Spans count as written, also where they overlap. Source: VideoChat-R1.5, arXiv:2509.21100.
    """
    answer = tag_text(completion, "glue")
    spans = parse_spans(answer) if answer is not None else None
    if spans is not None and len(spans) > most:
        return Score(0.0, answer, f"{len(spans)} spans, at most {most} are allowed", "wrong_count")
    return union_iou(completion, target, min_iou=min_iou)


def answered_span(completion: str) -> Span | Score:
    """Span of the last <answer> in seconds, or the score of a completion without a readable one."""
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    span = parse_span(answer)
    if span is None:
        return Score(0.0, answer, "no 'start to end' inside <answer>", "unreadable")
    if span[1] < span[0]:
        return Score(0.0, answer, "the span ends before it starts", "reversed")
    return span


def overlap_score(
    iou: float, answer: str, spans: Iterable[Span], duration_s: float | None, min_iou: float = 0.0
) -> Score:
    """The score of an answer with this IoU, 0 below `min_iou`; a span that starts past the clip's end is a fault."""
    note = f"IoU {iou:.3f}, below {min_iou}" if iou < min_iou else f"IoU {iou:.3f}"
    value = 0.0 if iou < min_iou else iou
    if duration_s is not None and any(start > duration_s for start, _ in spans):
        return Score(value, answer, f"{note}; a span starts past the clip's end at {duration_s:g} s", "out_of_range")
    return Score(value, answer, note)
