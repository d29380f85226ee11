import pytest

from rewards.grounding import temporal_iou, union_iou
from rewards.types import GroundedChoiceTarget, SpanTarget


@pytest.mark.parametrize(
    ("completion", "value", "note"),
    [
        ("<think>x</think><answer>2 to 4</answer>", 1, "IoU 1.000"),
        ("<answer>2.0s - 3 seconds</answer>", 0.5, "IoU 0.500"),
        ("<answer>9 to 10</answer><answer>2 to 4</answer>", 1, "IoU"),
        ("<answer>2 to 4</answer><answer>9 to 10</answer>", 0, "IoU 0.000"),
        ("<answer>4 to 2</answer>", 0, "ends before it starts"),
        ("<answer>2 to 2</answer>", 0, "IoU 0.000"),
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
    completion, truth = "<answer>9 to 11</answer>", SpanTarget(9, 11)
    assert temporal_iou(completion, truth).fault is None
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
