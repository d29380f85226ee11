"""Values -> numbers: overlap of spans and boxes, each in [0, 1]; 0 where there is nothing to overlap."""

from collections.abc import Iterable

from rewards.types import Box, Span


def interval_iou(a: Span, b: Span) -> float:
    """Intersection over union of two spans; reversed ones have no overlap."""
    common = min(a[1], b[1]) - max(a[0], b[0])
    if common <= 0:
        return 0.0
    union = (a[1] - a[0]) + (b[1] - b[0]) - common
    return min(1.0, common / union) if union > 0 else 0.0


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
    a0, a1, a2, a3 = a
    b0, b1, b2, b3 = b
    width = (a2 if a2 < b2 else b2) - (a0 if a0 > b0 else b0)
    height = (a3 if a3 < b3 else b3) - (a1 if a1 > b1 else b1)
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    union = (a2 - a0) * (a3 - a1) + (b2 - b0) * (b3 - b1) - common
    if common < union:
        return common / union
    return 1.0 if union > 0 else 0.0


def _length(spans: list[Span]) -> float:
    return sum([end - start for start, end in spans])


def _common(a: list[Span], b: list[Span]) -> float:
    total, i, j = 0.0, 0, 0
    while i < len(a) and j < len(b):
        total += max(0.0, min(a[i][1], b[j][1]) - max(a[i][0], b[j][0]))
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return total
