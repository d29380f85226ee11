"""Time spans: which are answered without looking at the video, and how much of an answer is true."""

from collections.abc import Sequence

from rewards.geometry import merged, spans_iou
from rewards.types import Span

_MOST_TARGETS = 500
_MOST_EDGES = 24


def fractions_of_clip(clips_s: Sequence[float | None]) -> dict[str, list[Span]]:
    """Fixed parts of each clip by name; empty where a clip's length is not known."""
    lengths = [length for length in clips_s if length is not None]
    if len(lengths) < len(clips_s):
        return {}
    parts = {
        "whole_video": (0.0, 1.0),
        "first_half": (0.0, 0.5),
        "middle_half": (0.25, 0.75),
        "first_30": (0.0, 0.3),
    }
    return {
        name: [(round(start * length, 2), round(end * length, 2)) for length in lengths]
        for name, (start, end) in parts.items()
    }


def true_share(answered: Sequence[Span], truth: Sequence[Span]) -> float:
    """Share of the answered seconds that lies in the target, in [0, 1]; 0 for an empty answer. NExT-GQA's IoP."""
    spans = merged(answered)
    length = sum(end - start for start, end in spans)
    common = sum(max(0.0, min(end, e) - max(start, s)) for start, end in spans for s, e in merged(truth))
    return min(1.0, common / length) if length > 0 else 0.0


def best_constant_span(truths: Sequence[Sequence[Span]]) -> Span | None:
    """The one span with the highest mean IoU over many true sets of spans; None without any.

    Searched among pairs of true starts and ends, at most 24 quantiles of each, over at most 500 evenly chosen sets.
    """
    truths = truths[:: 1 + (len(truths) - 1) // _MOST_TARGETS] if truths else truths
    starts = _quantiles([span[0] for spans in truths for span in spans])
    ends = _quantiles([span[1] for spans in truths for span in spans])
    candidates = [(start, end) for start in starts for end in ends if start < end]
    return max(candidates, key=lambda c: sum(spans_iou((c,), spans) for spans in truths), default=None)


def _quantiles(values: Sequence[float]) -> list[float]:
    ordered = sorted(set(values))
    if len(ordered) <= _MOST_EDGES:
        return ordered
    return [ordered[round(i * (len(ordered) - 1) / (_MOST_EDGES - 1))] for i in range(_MOST_EDGES)]
