import pytest

from rewards.published import evaluated_box_ious, evaluated_mean_box_iou
from rewards.targets.boxes import BoxesTarget
from rewards.tracking import box_ious, leaves_the_frame, mean_box_iou

TARGET = BoxesTarget(((0, 0, 0.5, 0.5), (0.1, 0, 0.6, 0.5), (0.5, 0.5, 1, 1)))
START, SECOND, THIRD = "[0, 0, 0.5, 0.5]", "[0.1, 0, 0.6, 0.5]", "[0.5, 0.5, 1, 1]"


@pytest.mark.parametrize(
    ("answer", "skipped", "counted", "note"),
    [
        (f"[{START}, {SECOND}, {THIRD}]", 1, 1, "mean IoU 1.000"),
        (f"({START} {SECOND} {THIRD})", 1, 1, "mean IoU 1.000"),
        (f"[{START}, {START}, {START}]", 1 / 3, 5 / 9, "lowest 0.000"),
        (f"[{THIRD}, {SECOND}, {THIRD}]", 1, 2 / 3, "mean IoU"),
        (f"[{START}, {SECOND}, [1, 1, 0.5, 0.5]]", 1 / 2, 2 / 3, "lowest 0.000"),
        (f"[{START}, {SECOND}, [0.5, 0.7, 1, 0.7]]", 1 / 2, 2 / 3, "lowest 0.000"),
        (f"[{START}, {SECOND}, [0.5, 0.5, 1, 1e308]]", 1 / 2, 2 / 3, "a box leaves [0, 1]"),
        (f"[{START}, {SECOND}, [-1e308, -1e308, 1e308, 1e308]]", 1 / 2, 2 / 3, "a box leaves [0, 1]"),
        (f"[{START}, {SECOND}, [0.5, 0.5, 1, 1e309]]", 0, 0, "no list of"),
        (f"[{START}, {SECOND}, [0.5, 0.5, 1, inf]]", 0, 0, "no list of"),
        (f"[{START}, {SECOND}, [0.5, 0.5, 1, nan]]", 0, 0, "no list of"),
        (f"[{START}, {SECOND}]", 0, 0, "2 boxes, asked for 3"),
        (f"[{START}, {SECOND}, {THIRD}, {THIRD}]", 0, 0, "4 boxes, asked for 3"),
        (f"[{START}, {SECOND}, [0.5, 0.5, 1]]", 0, 0, "no list of"),
        ("[[50, 50, 100, 100]]", 0, 0, "1 boxes"),
        ("", 0, 0, "no list of"),
    ],
)
def test_mean_box_iou(answer: str, skipped: float, counted: float, note: str) -> None:
    completion = f"<think>{THIRD}</think><answer>{answer}</answer>"
    score = mean_box_iou(completion, TARGET)
    assert score.value == pytest.approx(skipped)
    assert note in score.note
    assert mean_box_iou(completion, TARGET, skip_start=False).value == pytest.approx(counted)


@pytest.mark.parametrize(
    ("box", "value"),
    [
        ([0, 0, 1.9e-219, 1.9e-219], 1),
        ([0, 0, 1.9e-219, 9.5e-220], 1 / 2),
        ([0, 0, 0, 1.9e-219], 0),
        ([1.9e-219, 1.9e-219, 0, 0], 0),
        ([0, 0, 1, 1], 0),
    ],
)
def test_a_true_box_without_a_measurable_area(box: list[float], value: float) -> None:
    target = BoxesTarget(((0, 0, 1, 1), (0, 0, 1.9e-219, 1.9e-219)))
    assert mean_box_iou(f"<answer>[[0, 0, 1, 1], {box}]</answer>", target).value == pytest.approx(value)


def test_mean_box_iou_without_an_answer() -> None:
    assert mean_box_iou(f"[{START}, {SECOND}, {THIRD}]", TARGET).note == "no <answer>"


@pytest.mark.parametrize(
    ("answer", "value", "fault"),
    [
        ("soon", 0, "unreadable"),
        (f"[{START}, {SECOND}]", 0, "wrong_count"),
        (f"[{START}, {SECOND}, [0.5, 0.5, 1, 2]]", (1 + 1 / 3) / 2, "out_of_range"),
        (f"[[-1, 0, 0.5, 0.5], {SECOND}, {THIRD}]", 1, "out_of_range"),
        (f"[{START}, {SECOND}, {THIRD}]", 1, None),
    ],
)
def test_faults_of_boxes(answer: str, value: float, fault: str | None) -> None:
    score = mean_box_iou(f"<answer>{answer}</answer>", TARGET)
    assert score.value == pytest.approx(value)
    assert score.fault == fault
    assert ("leaves [0, 1]" in score.note) == (fault == "out_of_range")
    assert mean_box_iou(answer, TARGET).fault == "no_tag"


def test_any_coordinate_may_leave_the_frame() -> None:
    assert not leaves_the_frame([(0, 0, 1, 1), (1, 1, 0, 0)])
    for i in range(4):
        for outside in (-0.1, 1.1):
            assert leaves_the_frame([(0, 0, 1, 1), [0.5] * i + [outside] + [0.5] * (3 - i)])


@pytest.mark.parametrize(("read", "reward"), [(box_ious, mean_box_iou), (evaluated_box_ious, evaluated_mean_box_iou)])
def test_the_mean_is_that_of_the_boxes(read, reward) -> None:
    target = BoxesTarget(((0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0), (0.0, 0.0, 0.5, 0.5)))
    completion = "<answer>[[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 0.75], [0.5, 0.5, 1.0, 1.0]]</answer>"
    assert read(completion, target) == (1.0, 0.5, 0.0)
    assert reward(completion, target, skip_start=False).value == 0.5
    assert reward(completion, target, skip_start=True).value == 0.25
    for unreadable in ("", "<answer>[[0, 0, 1, 1]]</answer>", "<answer>no boxes</answer>"):
        assert read(unreadable, target) == (0.0, 0.0, 0.0)
