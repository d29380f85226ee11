"""Time spans: constant baselines, and the precision of answered spans."""

from collections.abc import Sequence

from rewards.geometry import merged, spans_iou
from rewards.types import Span

_MOST_TARGETS = 500
_MOST_EDGES = 24


def fractions_of_clip(clips_s: Sequence[float | None]) -> dict[str, list[Span]]:
    """Baseline name -> span per clip, a fixed part of it in seconds; {} if a clip's length is unknown."""
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


def span_baselines(train: Sequence[Sequence[Span]], clips_s: Sequence[float | None]) -> dict[str, list[Span]]:
    """Baseline name -> span per clip: fixed parts of the clip, and the best constant span of the training targets."""
    spans = fractions_of_clip(clips_s)
    constant = best_constant_span(train)
    return spans | {"best_constant": [constant] * len(clips_s)} if constant else spans


def intersection_over_prediction(answered: Sequence[Span], target: Sequence[Span]) -> float:
    """IoP of NExT-GQA: share of the answered seconds inside the target spans, in [0, 1]; 0 for an empty answer."""
    spans = merged(answered)
    length = sum(end - start for start, end in spans)
    common = sum(max(0.0, min(end, e) - max(start, s)) for start, end in spans for s, e in merged(target))
    return min(1.0, common / length) if length > 0 else 0.0


def best_constant_span(targets: Sequence[Sequence[Span]]) -> Span | None:
    """The span with the highest mean IoU over many targets, each a set of spans; None without targets.

    Searched among pairs of target starts and ends, at most 24 quantiles of each, over at most 500 targets.
    """
    targets = targets[:: 1 + (len(targets) - 1) // _MOST_TARGETS] if targets else targets
    starts = _quantiles([span[0] for spans in targets for span in spans])
    ends = _quantiles([span[1] for spans in targets for span in spans])
    candidates = [(start, end) for start in starts for end in ends if start < end]
    return max(candidates, key=lambda c: sum(spans_iou((c,), spans) for spans in targets), default=None)


def _quantiles(values: Sequence[float]) -> list[float]:
    ordered = sorted(set(values))
    if len(ordered) <= _MOST_EDGES:
        return ordered
    return [ordered[round(i * (len(ordered) - 1) / (_MOST_EDGES - 1))] for i in range(_MOST_EDGES)]
