import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.geometry import box_iou, interval_iou, merged, spans_iou

NUMBERS = st.floats(-1e9, 1e9)
"""Many of those drawn are so small that their products vanish."""
SPANS = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=6)
BOXES = st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS)


@pytest.mark.parametrize(
    ("a", "b", "iou"),
    [
        ((0, 2), (0, 2), 1),
        ((0, 2), (1, 3), 1 / 3),
        ((0, 4), (1, 2), 1 / 4),
        ((0, 1), (1, 2), 0),
        ((0, 1), (5, 6), 0),
        ((2, 0), (0, 2), 0),
        ((1, 1), (0, 2), 0),
        ((1, 1), (1, 1), 0),
        ((2, 0), (2, 0), 0),
        ((0, 5e-324), (0, 5e-324), 1),
        ((0, 1e-300), (0, 4e-300), 1 / 4),
        ((0, 1e308), (0, 1e308), 0),
        ((0, math.inf), (0, 1), 0),
        ((0, math.inf), (0, math.inf), 0),
        ((-math.inf, math.inf), (-math.inf, math.inf), 0),
        ((math.inf, math.inf), (0, 1), 0),
    ],
)
def test_interval_iou(a, b, iou: float) -> None:
    assert interval_iou(a, b) == pytest.approx(iou)


@pytest.mark.parametrize(
    ("a", "b", "iou"),
    [
        ([(0, 1), (2, 3)], [(0, 3)], 2 / 3),
        ([(0, 2), (1, 3)], [(0, 3)], 1),
        ([(0, 1), (1, 3)], [(0, 3)], 1),
        ([(0, 3)] * 5, [(0, 3)], 1),
        ([(2, 3), (0, 1)], [(0, 1), (2, 3)], 1),
        ([(0, 10), (2, 3)], [(0, 10)], 1),
        ([(0, 10)], [(0, 1), (4, 5), (9, 12)], 3 / 12),
        ([], [(0, 1)], 0),
        ([], [], 0),
        ([(1, 1)], [(1, 1)], 0),
        ([(1, 1), (0, 3)], [(0, 3)], 1),
        ([(3, 0)], [(3, 0)], 0),
        ([(3, 0), (0, 1)], [(0, 1)], 1),
        ([(0, 5e-324), (1, 2)], [(0, 5e-324), (1, 2)], 1),
        ([(0, 1e308)], [(0, 1e308)], 0),
        ([(0, math.inf)], [(0, 1)], 0),
        ([(0, math.inf)], [(0, math.inf)], 0),
        ([(-math.inf, math.inf)], [(math.inf, math.inf)], 0),
    ],
)
def test_spans_iou(a, b, iou: float) -> None:
    assert spans_iou(a, b) == pytest.approx(iou)


@pytest.mark.parametrize(
    ("a", "b", "iou"),
    [
        ((0, 0, 1, 1), (0, 0, 1, 1), 1),
        ((0, 0, 1, 1), (0.5, 0, 1.5, 1), 1 / 3),
        ((0, 0, 1, 1), (0.25, 0.25, 0.75, 0.75), 1 / 4),
        ((0, 0, 0.5, 0.5), (0.5, 0.5, 1, 1), 0),
        ((0, 0, 0.4, 1), (0.6, 0, 1, 1), 0),
        ((1, 1, 0, 0), (0, 0, 1, 1), 0),
        ((1, 1, 0, 0), (1, 1, 0, 0), 0),
        ((0, 0, 0, 1), (0, 0, 0, 1), 0),
        ((0, 0, 1, 1), (0.5, 0.2, 0.5, 0.8), 0),
        ((0, 0, 1, 1), (0.2, 0.8, 0.6, 0.4), 0),
        # Areas below the range of floats.
        ((0, 0, 1.9e-219, 1.9e-219), (0, 0, 1.9e-219, 1.9e-219), 1),
        ((0, 0, 4e-219, 3e-219), (0, 0, 2e-219, 3e-219), 1 / 2),
        ((0, 0, 1e-161, 1e-161), (0, 0, 1e-161, 3e-162), 3 / 10),
        ((0, 0, 1, 5e-324), (0, 0, 1, 5e-324), 1),
        ((0, 0, 1, 5e-324), (0, 0, 5e-324, 1), 0),
        ((0, 0, 1, 1), (0, 0, 1.9e-219, 1.9e-219), 0),
        # And above.
        ((0, 0, 1e200, 1e200), (0, 0, 1e200, 1e200), 1),
        ((0, 0, 1e155, 1e155), (0, 0, 1e155, 4e154), 2 / 5),
        ((-1e308, -1e308, 1e308, 1e308), (0, 0, 1, 1), 0),
        ((-1e308, 0, 1e308, 1), (-1e308, 0, 1e308, 1), 0),
        ((0, 0, math.inf, 1), (0, 0, math.inf, 1), 0),
        ((0, 0, math.inf, 1), (0, 0, 1, 1), 0),
    ],
)
def test_box_iou(a, b, iou: float) -> None:
    assert box_iou(a, b) == pytest.approx(iou)
    assert box_iou(b, a) == pytest.approx(iou)


@given(SPANS, SPANS)
def test_spans_iou_is_symmetric_and_bounded(a, b) -> None:
    assert 0 <= spans_iou(a, b) <= 1
    assert spans_iou(a, b) == pytest.approx(spans_iou(b, a))
    assert spans_iou(a, a) == (1 if any(start < end for start, end in merged(a)) else 0)


@given(st.tuples(NUMBERS, NUMBERS), st.tuples(NUMBERS, NUMBERS))
def test_two_spans_are_two_sets_of_one(a, b) -> None:
    assert interval_iou(a, b) == spans_iou((a,), (b,))


@given(BOXES, BOXES)
def test_box_iou_is_symmetric_and_bounded(a, b) -> None:
    assert 0 <= box_iou(a, b) <= 1
    assert box_iou(a, b) == pytest.approx(box_iou(b, a))
    assert box_iou(a, a) == (1 if a[0] < a[2] and a[1] < a[3] else 0)
