"""Values -> numbers: overlap of spans and boxes, each in [0, 1]; 0 where there is nothing to overlap."""

from collections.abc import Iterable

from rewards.types import Box, Span


def interval_iou(a: Span, b: Span) -> float:
    """Intersection over union of two spans; reversed ones have no overlap."""
    return spans_iou((a,), (b,))


def spans_iou(a: Iterable[Span], b: Iterable[Span]) -> float:
    """Intersection over union of two sets of spans, overlaps inside a set counted once; reversed spans are empty."""
    a, b = merged(a), merged(b)
    common = _common(a, b)
    union = _length(a) + _length(b) - common
    return min(1.0, common / union) if union > 0 else 0.0


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same seconds as spans in order that neither overlap nor touch."""
    result: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] <= span[1]):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes; reversed ones have no area."""
    width = (a[2] if a[2] < b[2] else b[2]) - (a[0] if a[0] > b[0] else b[0])
    height = (a[3] if a[3] < b[3] else b[3]) - (a[1] if a[1] > b[1] else b[1])
    common = width * height if width > 0 and height > 0 else 0.0
    union = _area(a) + _area(b) - common
    return min(1.0, common / union) if union > 0 else 0.0


def _length(spans: list[Span]) -> float:
    return sum(end - start for start, end in spans)


def _common(a: list[Span], b: list[Span]) -> float:
    total, i, j = 0.0, 0, 0
    while i < len(a) and j < len(b):
        total += max(0.0, min(a[i][1], b[j][1]) - max(a[i][0], b[j][0]))
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return total


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
