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
