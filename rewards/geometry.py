"""Values -> numbers: overlap of spans and boxes, each in [0, 1] for any finite numbers.

A span without length or a box without area (zero, or reversed) has nothing to overlap: its IoU is 0, with itself too.
Any other one has IoU 1 with itself, however small: areas that leave the range of floats are compared by their sides.
A side, or a sum of two lengths, above that range (1.8e308) counts as endless: the IoU is 0.
"""

import sys
from collections.abc import Iterable

from rewards.types import Box, Span

_LEAST_AREA, _LARGEST_AREA = sys.float_info.min, sys.float_info.max
"""Between them a float keeps all its digits."""


def interval_iou(a: Span, b: Span) -> float:
    """Intersection over union of two spans; 0 where one has no length or is reversed."""
    common = min(a[1], b[1]) - max(a[0], b[0])
    if common <= 0:
        return 0.0
    union = (a[1] - a[0]) + (b[1] - b[0]) - common
    return min(1.0, common / union) if union > 0 else 0.0


def interval_giou(a: Span, b: Span) -> float:
    """Generalised IoU of two spans, in [-1, 1]: IoU, less the share of the hull of both that neither covers.

    Source: Rezatofighi et al., arXiv:1902.09630, there for boxes.
    """
    hull = max(a[1], b[1]) - min(a[0], b[0])
    gap = max(a[0], b[0]) - min(a[1], b[1])
    return interval_iou(a, b) - (gap / hull if gap > 0 else 0.0)


def spans_iou(a: Iterable[Span], b: Iterable[Span]) -> float:
    """Intersection over union of two sets of spans, overlaps inside a set counted once; reversed spans are empty."""
    a, b = merged(a), merged(b)
    common = _common(a, b)
    union = _length(a) + _length(b) - common
    return min(1.0, common / union) if union > 0 else 0.0


def merged(spans: Iterable[Span]) -> list[Span]:
    """Union of the spans: the same seconds as sorted spans that neither overlap nor touch."""
    result: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] <= span[1]):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes; 0 where one has no area or is reversed."""
    a0, a1, a2, a3 = a
    b0, b1, b2, b3 = b
    width = (a2 if a2 < b2 else b2) - (a0 if a0 > b0 else b0)
    height = (a3 if a3 < b3 else b3) - (a1 if a1 > b1 else b1)
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    union = (a2 - a0) * (a3 - a1) + (b2 - b0) * (b3 - b1) - common
    if _LEAST_AREA <= union <= _LARGEST_AREA:
        return common / union if common < union else 1.0
    return _extreme_box_iou((a2 - a0, a3 - a1), (b2 - b0, b3 - b1), (width, height))


def _extreme_box_iou(a: tuple[float, float], b: tuple[float, float], both: tuple[float, float]) -> float:
    """IoU of areas too small or too large for a float, from (width, height) of two boxes and of what both cover."""
    widest, highest = max(a[0], b[0]), max(a[1], b[1])
    area_a, area_b, common = (width / widest * (height / highest) for width, height in (a, b, both))
    union = area_a + area_b - common
    return min(1.0, common / union) if union > 0 else 0.0


def _length(spans: list[Span]) -> float:
    # Added one by one, as in _common: sum() rounds otherwise from Python 3.12 on, and a set would miss itself by that.
    total = 0.0
    for start, end in spans:
        total += end - start
    return total


def _common(a: list[Span], b: list[Span]) -> float:
    total, i, j = 0.0, 0, 0
    while i < len(a) and j < len(b):
        total += max(0.0, min(a[i][1], b[j][1]) - max(a[i][0], b[j][0]))
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return total
