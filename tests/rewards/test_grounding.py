import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.grounding import at_most_spans, endpoint_iou, generalised_iou, temporal_iou, union_iou
from rewards.targets.grounded_choice import GroundedChoiceTarget
from rewards.targets.span import SpanTarget

TRUTH = SpanTarget(10.0, 20.0, duration_s=40.0)
TIMES = st.floats(0, 100)
HUGE = "9" * 308
"""Nearly the largest float, in the digits that times are written in; one digit more is endless."""


@pytest.mark.parametrize(
    ("completion", "value", "note"),
    [
        ("<think>x</think><answer>2 to 4</answer>", 1, "IoU 1.000"),
        ("<answer>2.0s - 3 seconds</answer>", 0.5, "IoU 0.500"),
        ("<answer>9 to 10</answer><answer>2 to 4</answer>", 1, "IoU"),
        ("<answer>2 to 4</answer><answer>9 to 10</answer>", 0, "IoU 0.000"),
        ("<answer>4 to 2</answer>", 0, "ends before it starts"),
        ("<answer>2 to 2</answer>", 0, "IoU 0.000"),
        ("<answer>3 to 3</answer>", 0, "IoU 0.000"),
        (f"<answer>2 to {HUGE}</answer>", 0, "IoU 0.000"),
        (f"<answer>2 to {HUGE}9</answer>", 0, "no 'start to end'"),
        ("<answer>2 to inf</answer>", 0, "no 'start to end'"),
        ("<answer>nan to 4</answer>", 0, "no 'start to end'"),
        ("<answer>two to four</answer>", 0, "no 'start to end'"),
        ("<answer></answer>", 0, "no 'start to end'"),
        ("<answer>2 to 4", 0, "no <answer>"),
        ("2 to 4", 0, "no <answer>"),
        ("", 0, "no <answer>"),
    ],
)
def test_temporal_iou(completion: str, value: float, note: str) -> None:
    score = temporal_iou(completion, SpanTarget(2, 4))
    assert score.value == pytest.approx(value)
    assert note in score.note


@pytest.mark.parametrize(("end", "value"), [("0." + 218 * "0" + "2", 1), ("0." + 218 * "0" + "1", 1 / 2), ("0", 0)])
def test_a_span_may_be_as_short_as_a_number_can_tell(end: str, value: float) -> None:
    assert temporal_iou(f"<answer>0 to {end}</answer>", SpanTarget(0, 2e-219)).value == pytest.approx(value)
    target = GroundedChoiceTarget("A", ((0, 2e-219),))
    assert union_iou(f"<glue>[(0, {end})]</glue>", target).value == pytest.approx(value)


@pytest.mark.parametrize("span", [(3, 3), (4, 2)])
def test_a_target_without_length_has_iou_0(span: tuple[float, float]) -> None:
    """No row may have one."""
    assert temporal_iou("<answer>3 to 3</answer>", SpanTarget(*span)).value == 0
    assert temporal_iou("<answer>2 to 4</answer>", SpanTarget(*span)).value == 0
    for glue in ("[(3, 3)]", "[(2, 4)]"):
        assert union_iou(f"<glue>{glue}</glue>", GroundedChoiceTarget("A", (span,))).value == 0


def test_temporal_iou_below_the_least_is_0() -> None:
    assert temporal_iou("<answer>2 to 3</answer>", SpanTarget(2, 4), min_iou=0.5).value == 0.5
    assert temporal_iou("<answer>2 to 3</answer>", SpanTarget(2, 4), min_iou=0.6).value == 0


@pytest.mark.parametrize(
    ("completion", "value", "note"),
    [
        ("<answer>A</answer><glue>[(1, 2), (4, 6)]</glue>", 1, "IoU 1.000"),
        ("<glue>[(4, 6), (1, 2)]</glue>", 1, "IoU 1.000"),
        ("<glue>[(1, 2), (1, 2), (4, 5), (5, 6)]</glue>", 1, "IoU 1.000"),
        ("<glue>[(1, 6)]</glue>", 3 / 5, "IoU 0.600"),
        ("<glue>[(7, 8)]</glue>", 0, "IoU 0.000"),
        ("<glue>[(1, 2), (6, 4)]</glue>", 0, "ends before it starts"),
        ("<glue>[(5, 5)]</glue>", 0, "IoU 0.000"),
        ("<glue>[(1, 2), (3, 3), (4, 6)]</glue>", 1, "IoU 1.000"),
        (f"<glue>[(1, 2), (4, {HUGE})]</glue>", 0, "IoU 0.000"),
        (f"<glue>[(1, 2), (4, {HUGE}9)]</glue>", 0, "no '[(start, end), ...]'"),
        ("<glue>[(1, 2), (4, inf)]</glue>", 0, "no '[(start, end), ...]'"),
        ("<glue>[]</glue>", 0, "no spans"),
        ("<glue>1 to 2</glue>", 0, "no '[(start, end), ...]'"),
        ("<answer>[(1, 2), (4, 6)]</answer>", 0, "no <glue>"),
        ("", 0, "no <glue>"),
    ],
)
def test_union_iou(completion: str, value: float, note: str) -> None:
    score = union_iou(completion, GroundedChoiceTarget("A", ((1, 2), (4, 6))))
    assert score.value == pytest.approx(value)
    assert note in score.note


def test_union_iou_below_the_least_is_0() -> None:
    target = GroundedChoiceTarget("A", ((0, 2),))
    assert union_iou("<glue>[(0, 1)]</glue>", target, min_iou=0.6).value == 0


@pytest.mark.parametrize(
    ("completion", "value", "fault"),
    [
        ("2 to 4", 0, "no_tag"),
        ("<answer>soon</answer>", 0, "unreadable"),
        ("<answer>4 to 2</answer>", 0, "reversed"),
        ("<answer>9 to 12</answer>", 0, "out_of_range"),
        ("<answer>8 to 12</answer>", 0, None),
        ("<answer>0:02 to 0:04</answer>", 1, None),
    ],
)
def test_faults_of_a_span(completion: str, value: float, fault: str | None) -> None:
    score = temporal_iou(completion, SpanTarget(2, 4, duration_s=8))
    assert (score.value, score.fault) == (value, fault)


def test_a_start_past_the_end_does_not_change_the_value() -> None:
    completion, target = "<answer>9 to 11</answer>", SpanTarget(9, 11)
    assert temporal_iou(completion, target).fault is None
    score = temporal_iou(completion, SpanTarget(9, 11, duration_s=8.5))
    assert (score.value, score.fault) == (1, "out_of_range")
    assert "past the clip's end at 8.5 s" in score.note


@pytest.mark.parametrize(
    ("completion", "value", "fault"),
    [
        ("[(2, 4)]", 0, "no_tag"),
        ("<glue>2 to 4</glue>", 0, "unreadable"),
        ("<glue>[]</glue>", 0, "wrong_count"),
        ("<glue>[(2, 4), (6, 5)]</glue>", 0, "reversed"),
        ("<glue>[(2, 4), (9, 10)]</glue>", 2 / 3, "out_of_range"),
        ("<glue>[(0:02, 0:04)]</glue>", 1, None),
    ],
)
def test_faults_of_glue(completion: str, value: float, fault: str | None) -> None:
    score = union_iou(completion, GroundedChoiceTarget("A", ((2, 4),), duration_s=8))
    assert score.value == pytest.approx(value)
    assert score.fault == fault


@pytest.mark.parametrize(
    ("completion", "value", "fault"),
    [
        ("<answer>10 to 20</answer>", 1.0, None),
        ("<answer>10 to 20 seconds</answer>", 1.0, None),
        ("<answer>12 to 24</answer>", 8 / 14 * (1 - 2 / 40) * (1 - 4 / 40), None),
        ("<answer>0 to 40</answer>", 0.25 * 0.75 * 0.5, None),
        ("<answer>20 to 30</answer>", 0.0, None),
        ("<answer>15 to 15</answer>", 0.0, None),
        ("<answer>0 to 90</answer>", 0.0, None),
        ("<answer>60 to 90</answer>", 0.0, None),
        ("<answer>20 to 10</answer>", 0.0, "reversed"),
        ("<answer>soon</answer>", 0.0, "unreadable"),
        ("10 to 20", 0.0, "no_tag"),
    ],
)
def test_endpoint_iou(completion: str, value: float, fault: str | None) -> None:
    score = endpoint_iou(completion, TRUTH)
    assert score.value == pytest.approx(value)
    assert score.fault == fault


@pytest.mark.parametrize("duration_s", [None, 0.0, -1.0])
def test_endpoint_iou_asks_for_the_length_of_the_clip(duration_s: float | None) -> None:
    with pytest.raises(ValueError, match="give duration_s"):
        endpoint_iou("<answer>10 to 20</answer>", SpanTarget(10.0, 20.0, duration_s=duration_s))


@pytest.mark.parametrize(
    ("completion", "value", "fault"),
    [
        ("<answer>10 to 20</answer>", 1.0, None),
        ("<answer>15 to 25</answer>", (1 + 5 / 15) / 2, None),
        ("<answer>20 to 30</answer>", 0.5, None),
        ("<answer>30 to 40</answer>", (1 - 10 / 30) / 2, None),
        ("<answer>0 to 5</answer>", (1 - 5 / 20) / 2, None),
        ("<answer>15 to 15</answer>", 0.5, None),
        ("<answer>20 to 10</answer>", 0.0, "reversed"),
        ("<answer></answer>", 0.0, "unreadable"),
        ("", 0.0, "no_tag"),
    ],
)
def test_generalised_iou(completion: str, value: float, fault: str | None) -> None:
    score = generalised_iou(completion, SpanTarget(10.0, 20.0))
    assert score.value == pytest.approx(value)
    assert score.fault == fault


def test_generalised_iou_of_a_target_without_length() -> None:
    """No row may have one; touching it earns what touching earns."""
    values = [generalised_iou(f"<answer>{text}</answer>", SpanTarget(5, 5)).value for text in ("5 to 5", "5 to 9")]
    assert values == [0.5, 0.5]
    assert generalised_iou("<answer>7 to 9</answer>", SpanTarget(5, 5)).value == pytest.approx((1 - 2 / 4) / 2)


def test_generalised_iou_orders_spans_that_miss() -> None:
    values = [generalised_iou(f"<answer>{t} to {t + 5}</answer>", TRUTH).value for t in (21, 30, 60, 600)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 4


@given(TIMES, TIMES, TIMES, TIMES)
def test_both_are_at_most_what_overlap_allows(a: float, b: float, c: float, d: float) -> None:
    start, end = sorted((a, b))
    target = SpanTarget(*sorted((c, d)), duration_s=100.0)
    text = f"<answer>{start:f} to {end:f}</answer>"
    if target.start_s < target.end_s:
        generalised = generalised_iou(text, target).value
        assert 0 <= endpoint_iou(text, target).value <= 1
        assert 0 <= generalised <= 1
        assert (endpoint_iou(text, target).value == 0) or generalised >= 0.5


def glued(num: int) -> str:
    spans = ", ".join(f"({i}, {i + 1})" for i in range(num))
    return f"<answer>A</answer><glue>[{spans}]</glue>"


@pytest.mark.parametrize(
    ("num", "most", "value", "fault"),
    [(1, 3, 0.25, None), (3, 3, 0.75, None), (4, 3, 0.0, "wrong_count"), (4, 4, 1.0, None), (2, 1, 0.0, "wrong_count")],
)
def test_at_most_spans(num: int, most: int, value: float, fault: str | None) -> None:
    score = at_most_spans(glued(num), GroundedChoiceTarget("A", ((0, 4),)), most=most)
    assert (score.value, score.fault) == (value, fault)


@pytest.mark.parametrize("text", ["", "<glue>[]</glue>", "<glue>(3, 1)</glue>", "<glue>[(0, 1)]</glue>"])
def test_up_to_most_spans_it_is_the_union_iou(text: str) -> None:
    target = GroundedChoiceTarget("A", ((0, 4),))
    assert at_most_spans(text, target, min_iou=0.3) == union_iou(text, target, min_iou=0.3)
