"""Rewards for answers that are times."""

from rewards.geometry import interval_iou, spans_iou
from rewards.parsing import answer_text, parse_span, parse_spans, tag_text
from rewards.types import GroundedChoiceTarget, Score, SpanTarget


def temporal_iou(completion: str, target: SpanTarget, *, min_iou: float = 0.0) -> Score:
    """IoU of the answered and the true time span, in [0, 1].

    Reads the last <answer> as "start to end", in seconds. Not readable, reversed, or IoU
    below `min_iou`: 0. Source: VideoChat-R1, arXiv:2504.06958.
    """
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>")
    span = parse_span(answer)
    if span is None:
        return Score(0.0, answer, "no 'start to end' inside <answer>")
    if span[1] < span[0]:
        return Score(0.0, answer, "the span ends before it starts")
    iou = interval_iou(span, (target.start_s, target.end_s))
    if iou < min_iou:
        return Score(0.0, answer, f"IoU {iou:.3f}, below {min_iou}")
    return Score(iou, answer, f"IoU {iou:.3f}")


def union_iou(completion: str, target: GroundedChoiceTarget, *, min_iou: float = 0.0) -> Score:
    """IoU of all answered and all true seconds, in [0, 1].

    Reads the last <glue> as "[(start, end), ...]", in seconds; overlapping spans count once. Not readable, empty,
    a reversed span, or IoU below `min_iou`: 0. Source: VideoChat-R1, arXiv:2504.06958.
    """
    answer = tag_text(completion, "glue")
    if answer is None:
        return Score(0.0, None, "no <glue>")
    spans = parse_spans(answer)
    if spans is None:
        return Score(0.0, answer, "no '[(start, end), ...]' inside <glue>")
    if not spans:
        return Score(0.0, answer, "no spans inside <glue>")
    reversed_spans = [span for span in spans if span[1] < span[0]]
    if reversed_spans:
        return Score(0.0, answer, f"the span {reversed_spans[0]} ends before it starts")
    iou = spans_iou(spans, target.spans)
    if iou < min_iou:
        return Score(0.0, answer, f"IoU {iou:.3f}, below {min_iou}")
    return Score(iou, answer, f"IoU {iou:.3f}")
