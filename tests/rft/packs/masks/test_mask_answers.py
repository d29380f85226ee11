"""Answers of the masks pack: what is read, what it earns, and what a blind constant earns."""

import json
import random
import time
from collections.abc import Sequence
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.types import Target
from rft.packs.masks.mask import mask_of_runs, rle_of
from rft.packs.masks.raster import box_mask
from rft.tasks import TASKS
from rft.tasks.types import Task

NAMES = ("mask_outline", "mask_boxes", "mask_keyframe", "mask_grid", "region_box")
MASK_TASKS = [TASKS[name] for name in NAMES]

LEFT = rle_of(box_mask((0.0, 0.0, 0.5, 1.0), 8, 8)).to_json()
SMALL = rle_of(box_mask((0.25, 0.25, 0.5, 0.5), 8, 8)).to_json()
PAIR = {"times": [1.0, 2.0], "masks": [LEFT, None]}
ONE = {"times": [1.0], "masks": [LEFT]}

OUTLINE, BOXES, KEYFRAME = (TASKS[name].read_target(PAIR) for name in NAMES[:3])
ONE_OUTLINE = TASKS["mask_outline"].read_target(ONE)
ABSENT = TASKS["mask_keyframe"].read_target({"times": [1.0], "masks": [None]})
TWO_SIZES = TASKS["mask_keyframe"].read_target({"times": [1.0, 2.0], "masks": [SMALL, LEFT]})
GRID = TASKS["mask_grid"].read_target({**ONE, "side": 2})
GRIDS = TASKS["mask_grid"].read_target({**PAIR, "side": 2})
REGION = TASKS["region_box"].read_target({"box": [0.0, 0.0, 0.5, 1.0]})

HALF = "[[0, 0], [0.5, 0], [0.5, 1], [0, 1]]"
FRAME = "[[0, 0], [1, 0], [1, 1], [0, 1]]"
SHOWN = '{"time": 1, "bbox": [0, 0, 0.5, 1], "points_1": [0.1, 0.1], "points_2": [0.4, 0.9]}'

ANSWERS = [
    ("mask_iou", OUTLINE, f"[[{HALF}], []]", 1.0, None),
    ("mask_iou", OUTLINE, f"[[{HALF}], null]", 1.0, None),
    ("mask_iou", OUTLINE, f"```json\n[[{HALF}], []]\n```", 1.0, None),
    ("mask_iou", OUTLINE, f"[[{HALF}], [{FRAME}]]", 0.5, None),
    ("mask_iou", OUTLINE, f"[[{FRAME}], [{FRAME}]]", 0.25, None),
    ("mask_iou", OUTLINE, "[[], []]", 0.5, None),
    ("mask_iou", OUTLINE, f"[{json.dumps(LEFT)}, []]", 1.0, None),
    ("mask_iou", OUTLINE, f"[[{HALF}]]", 0.0, "wrong_count"),
    ("mask_iou", OUTLINE, "[[[[0, 0], [1, 1]]], []]", 0.0, "unreadable"),
    ("mask_iou", OUTLINE, f"[[{', '.join([HALF] * 4)}], []]", 0.0, "unreadable"),
    ("mask_iou", OUTLINE, '[{"size": [9, 9], "counts": [81]}, []]', 0.0, "unreadable"),
    ("mask_iou", OUTLINE, '[{"size": [8, 8], "counts": [8]}, []]', 0.0, "unreadable"),
    ("mask_iou", OUTLINE, '[{"size": [8, 8.5], "counts": [64]}, []]', 0.0, "unreadable"),
    ("mask_iou", OUTLINE, '[{"size": 8, "counts": [64]}, []]', 0.0, "unreadable"),
    ("mask_iou", OUTLINE, '[{"size": [8, 8], "counts": [1e300]}, []]', 0.0, "unreadable"),
    ("mask_iou", OUTLINE, "", 0.0, "unreadable"),
    ("mask_iou", OUTLINE, "null", 0.0, "unreadable"),
    ("mask_iou", OUTLINE, "the dog", 0.0, "unreadable"),
    ("mask_iou", OUTLINE, "[" * 20_000, 0.0, "unreadable"),
    ("mask_iou", OUTLINE, "[[[[NaN, 0], [0, 1], [1, 1]]], []]", 0.0, "unreadable"),
    ("mask_iou", OUTLINE, "[[[[1e999, 0], [0, 1], [1, 1]]], []]", 0.0, "unreadable"),
    ("mask_iou", OUTLINE, f"[[[[{'9' * 6000}, 0], [0, 1], [1, 1]]], []]", 0.0, "unreadable"),
    ("mask_iou", OUTLINE, '[[[["0", 0], [0, 1], [1, 1]]], []]', 0.0, "unreadable"),
    ("mask_iou", OUTLINE, "[[[[true, 0], [0, 1], [1, 1]]], []]", 0.0, "unreadable"),
    ("mask_iou", ONE_OUTLINE, f"[[{HALF}]]", 1.0, None),
    ("mask_iou", ONE_OUTLINE, f"[{HALF}]", 1.0, None),
    ("mask_iou", ONE_OUTLINE, HALF, 1.0, None),
    ("mask_iou", ONE_OUTLINE, HALF.replace("[", "(").replace("]", ")"), 1.0, None),
    ("mask_iou", ONE_OUTLINE, json.dumps(LEFT), 1.0, None),
    ("mask_iou", ONE_OUTLINE, "null", 0.0, None),
    ("mask_iou", ONE_OUTLINE, "[]", 0.0, None),
    ("mask_boundary", OUTLINE, f"[[{HALF}], []]", 1.0, None),
    ("mask_boundary", OUTLINE, f"[[{FRAME}], [{FRAME}]]", 0.0, None),
    ("box_overlap", BOXES, "[[0, 0, 0.5, 1], null]", 1.0, None),
    ("box_overlap", BOXES, "[[0, 0, 0.5, 1], []]", 1.0, None),
    ("box_overlap", BOXES, "[[0, 0, 1, 1], [0, 0, 1, 1]]", 0.25, None),
    ("box_overlap", BOXES, "[null, null]", 0.5, None),
    ("box_overlap", BOXES, "[[0.5, 1, 0, 0], null]", 0.5, None),
    ("box_overlap", BOXES, "[[0, 0, 0.5, 2], null]", 0.75, "out_of_range"),
    ("box_overlap", BOXES, "[[0, 0, 0.5, 1]]", 0.0, "wrong_count"),
    ("box_overlap", BOXES, "[[0, 0, 0.5], null]", 0.0, "unreadable"),
    ("mask_iou", BOXES, "[[0, 0, 0.5, 1], null]", 1.0, None),
    ("keyframe_box", KEYFRAME, SHOWN, 1.0, None),
    ("inner_points", KEYFRAME, SHOWN, 1.0, None),
    ("keyframe_view", KEYFRAME, SHOWN, 1.0, None),
    ("keyframe_box", KEYFRAME, SHOWN.replace("1,", "2.2,", 1), 0.0, None),
    ("inner_points", KEYFRAME, SHOWN.replace("1,", "2.2,", 1), 0.0, None),
    ("keyframe_view", KEYFRAME, SHOWN.replace("1,", "2.2,", 1), 0.0, None),
    ("keyframe_view", KEYFRAME, SHOWN.replace("0.5, 1", "0.1, 1"), 0.0, None),
    ("inner_points", KEYFRAME, SHOWN.replace("[0.4, 0.9]", "[0.6, 0.9]"), 0.5, None),
    ("inner_points", KEYFRAME, SHOWN.replace("[0.4, 0.9]", "[0.4, 1.1]"), 0.5, None),
    ("keyframe_box", KEYFRAME, "null", 0.0, None),
    ("keyframe_box", ABSENT, "null", 1.0, None),
    ("keyframe_box", ABSENT, SHOWN, 0.0, None),
    ("keyframe_box", KEYFRAME, SHOWN.replace("bbox", "box"), 0.0, "unreadable"),
    ("keyframe_box", KEYFRAME, SHOWN.replace("1,", '"now",', 1), 0.0, "unreadable"),
    ("keyframe_box", KEYFRAME, f"[{SHOWN}]", 0.0, "unreadable"),
    (
        "keyframe_view",
        TWO_SIZES,
        '{"time": 1, "bbox": [0.25, 0.25, 0.5, 0.5], "points_1": [0, 0], "points_2": [0, 0]}',
        0.125,
        None,
    ),
    ("mask_iou", GRID, "10 10", 1.0, None),
    ("mask_iou", GRID, "1, 0 / 1 0", 1.0, None),
    ("mask_iou", GRID, "[[1, 0], [1, 0]]", 1.0, None),
    ("mask_iou", GRID, "1111", 0.5, None),
    ("mask_iou", GRID, "0000", 0.0, None),
    ("mask_iou", GRID, "101", 0.0, "wrong_count"),
    ("mask_iou", GRID, "1 0 2 0", 0.0, "unreadable"),
    ("mask_iou", GRIDS, "10 10; 00 00", 1.0, None),
    ("mask_iou", GRIDS, "10 10", 0.0, "wrong_count"),
    ("mask_boundary", GRID, "10 10", 1.0, None),
    ("region_iou", REGION, "[0, 0, 0.5, 1]", 1.0, None),
    ("region_iou", REGION, "[[0, 0, 1, 1]]", 0.5, None),
    ("region_iou", REGION, "[0, 0, 0.5, 1], [0, 0, 1, 1]", 0.0, "wrong_count"),
    ("region_iou", REGION, "left", 0.0, "unreadable"),
]


def task_of(target: Target) -> Task:
    return next(task for task in MASK_TASKS if task.target_type is type(target))


@pytest.mark.parametrize(("reward", "target", "answer", "value", "fault"), ANSWERS)
def test_what_an_answer_earns(reward: str, target: Target, answer: str, value: float, fault: str | None) -> None:
    score = task_of(target).own_rewards[reward](f"<think>[]</think><answer>{answer}</answer>", target)
    assert (score.value, score.fault) == (pytest.approx(value), fault), score.note


def test_thresholds_are_options() -> None:
    half = "<answer>[[0, 0, 1, 1]]</answer>"
    assert task_of(REGION).own_rewards["region_iou"](half, REGION, min_iou=0.6).value == 0.0
    whole = f"<answer>[[{FRAME}], []]</answer>"
    assert task_of(OUTLINE).own_rewards["mask_iou"](whole, OUTLINE, min_iou=0.6).value == 0.5
    shown = f"<answer>{SHOWN.replace('0.5, 1', '0.2, 1')}</answer>"
    assert task_of(KEYFRAME).own_rewards["keyframe_view"](shown, KEYFRAME, min_box_iou=0.3).value == 1.0


PROBLEMS = [
    ({"times": [1.0, 2.0], "masks": [LEFT]}, "1, but 2 times"),
    ({"times": [-1.0], "masks": [LEFT]}, "seconds from the start"),
    ({"times": [1.0], "masks": []}, "at least 1"),
    ({"times": "x", "masks": [LEFT]}, "times"),
    ({"times": [1.0], "masks": ["x"]}, r"masks\[0\]"),
    ({"times": [1.0, 2.0], "masks": [LEFT, {"size": [2, 2], "counts": [4]}]}, "sizes differ"),
    ({"times": [1.0], "masks": [LEFT], "subsets": [3]}, r"subsets\[0\]"),
    ({"times": [1.0], "masks": [LEFT], "object_class": ""}, "object_class"),
]


@pytest.mark.parametrize(("data", "problem"), PROBLEMS)
def test_what_is_no_target_is_refused(data: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        TASKS["mask_outline"].read_target(data)


def test_a_row_asks_about_moments_of_a_video_or_about_an_image() -> None:
    task = TASKS["mask_boxes"]
    fields = {"id": "a", "task": "mask_boxes", "query": "the dog"}
    image = task.row_type(**fields, image="a.jpg", target={"times": [], "masks": [LEFT]})
    assert task.target(image).subsets() == ("present",)
    assert "At " not in task.prompt_text(image, False)
    for wrong, problem in (
        (task.row_type(**fields, image="a.jpg", target=ONE), "moments belong to a video"),
        (task.row_type(**fields, video="a.mp4", target={"times": [], "masks": [LEFT]}), "moments belong to a video"),
        (task.row_type(**fields, video="a.mp4", duration_s=0.5, target={**ONE, "times": [9.0]}), "outside the clip"),
    ):
        with pytest.raises(ValueError, match=problem):
            task.target(wrong)


@st.composite
def rectangles(draw: st.DrawFn) -> dict[str, object]:
    """Targets whose masks are rectangles, so that rings can state them, or empty."""
    height, width = draw(st.sampled_from([(4, 4), (9, 16), (24, 17)]))
    masks: list[object] = []
    for _ in range(draw(st.integers(1, 3))):
        x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        x1, y1 = draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))
        mask = box_mask((x0 / width, y0 / height, x1 / width, y1 / height), height, width)
        masks.append(rle_of(mask).to_json() if draw(st.booleans()) else None)
    return {"times": [float(i) for i in range(len(masks))], "masks": masks}


@settings(max_examples=40)
@given(data=rectangles(), text=st.text(max_size=60))
def test_rewards_never_raise_and_the_written_target_earns_all(data: dict[str, object], text: str) -> None:
    for task in MASK_TASKS[:4]:
        target = task.read_target({**data, "side": 4} if task.name == "mask_grid" else data)
        assert type(target).from_json(json.loads(json.dumps(target.to_json())), []) == target
        for name, reward in task.own_rewards.items():
            if (name, task.name) != ("mask_boundary", "mask_grid"):
                assert reward(target.written(), target).value == pytest.approx(1.0), name
            assert 0 <= reward(f"<answer>{text}</answer>", target).value <= 1
            assert 0 <= reward(text, target).value <= 1
        for reward in task.published_rewards.values():
            assert 0 <= reward(f"<answer>{text}</answer>", target).value <= 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.floats(-1, 2) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.sampled_from(["time", "bbox", "points_1", "points_2", "size", "counts"]), inner, max_size=6
        )
    ),
    max_leaves=30,
)


@settings(max_examples=60)
@given(value=JSON)
def test_no_json_value_makes_a_reward_raise(value: object) -> None:
    for target in (OUTLINE, ONE_OUTLINE, BOXES, KEYFRAME, GRID, REGION):
        task = task_of(target)
        for reward in (*task.own_rewards.values(), *task.published_rewards.values()):
            assert 0 <= reward(f"<answer>{json.dumps(value)}</answer>", target).value <= 1


def test_a_mask_that_no_ring_states_is_written_as_its_code() -> None:
    ragged = rle_of(mask_of_runs(8, 8, [(0, 1), (2, 3), (12, 13), (40, 47)])).to_json()
    target = TASKS["mask_outline"].read_target({"times": [1.0], "masks": [ragged]})
    assert '"counts"' in target.written()
    assert TASKS["mask_outline"].measure(target.written(), target)["J&F"] == 1.0


def drawn(num: int) -> list[dict[str, object]]:
    """Balanced data: boxes of 5 to 20 % of the frame, half of the moments without one."""
    rng, rows = random.Random(0), []
    for i in range(num):
        x, y, side = rng.uniform(0, 0.55), rng.uniform(0, 0.55), rng.uniform(0.22, 0.45)
        mask = box_mask((x, y, x + side, y + side), 24, 24)
        rows.append({"times": [1.0], "masks": [rle_of(mask).to_json() if i % 2 else None]})
    return rows


def figures_of(task: Task, targets: Sequence[Target], answers: Sequence[str]) -> dict[str, float]:
    rewards = task.default_rewards(think=False)
    rewards.pop("answer_format")
    return {
        name: fmean(task.own_rewards[name](answer, t).value for answer, t in zip(answers, targets, strict=True))
        for name in rewards
    }


@pytest.mark.parametrize("task", MASK_TASKS[:4], ids=lambda task: task.name)
def test_no_constant_answer_passes_a_reward(task: Task) -> None:
    extra = {"side": 4} if task.name == "mask_grid" else {}
    targets = [task.read_target({**data, **extra}, duration_s=2.0) for data in drawn(60)]
    for name, answers in task.baselines(targets, [(target, 2.0) for target in targets]).items():
        for reward, value in figures_of(task, targets, answers).items():
            assert value <= 0.5, (name, reward)
        if name == "full_frame":
            present = [i for i, target in enumerate(targets) if target.subsets() == ("present",)]
            shown = figures_of(task, [targets[i] for i in present], [answers[i] for i in present])
            assert all(value < 0.25 for reward, value in shown.items() if reward != "inner_points"), shown


def test_figures_over_a_set() -> None:
    task = TASKS["mask_boxes"]
    small = rle_of(box_mask((0, 0, 0.5, 0.5), 4, 4)).to_json()
    rows = [
        ({**ONE, "object_class": "cat", "subsets": ["seen", "referring"]}, "[[0, 0, 1, 1]]"),
        (
            {"times": [1.0], "masks": [small], "object_class": "dog", "subsets": ["unseen", "reasoning"]},
            "[[0, 0, 0.5, 0.5]]",
        ),
        ({"times": [1.0], "masks": [None], "object_class": "dog", "subsets": ["unseen"]}, "[null]"),
    ]
    judged = []
    for data, answer in rows:
        target = task.read_target(data)
        judged.append((target, task.measure(f"<answer>{answer}</answer>", target)))
    assert [values["gIoU"] for _, values in judged] == [0.5, 1.0, 0.0]
    assert [target.subsets()[-1] for target, _ in judged] == ["present", "present", "absent"]
    figures = task.corpus_metrics(judged)
    # 32 of 64 pixels, 4 of 4, none of none.
    assert figures["cIoU"] == pytest.approx(36 / 68)
    assert (figures["class_mIoU"], figures["class_mIoU_seen"], figures["class_mIoU_unseen"]) == (0.75, 0.5, 1.0)
    assert figures["overall_J&F"] == pytest.approx((judged[0][1]["J&F"] + judged[1][1]["J&F"]) / 2)
    assert task.corpus_metrics(judged[2:]) == {}


DEEP = '{"bbox": [0, 0, 0.5, 1], "points_1": [0.2, 0.2], "points_2": [0.2, 0.7]}'
SEG_ZERO = [
    # 840 pixels: the true box is [0, 0, 420, 840].
    ("keyframe_box", SHOWN, 1.0),
    ("keyframe_box", SHOWN.replace("0.5, 1", "0.52, 1"), 1.0),
    ("keyframe_box", SHOWN.replace("0.5, 1", "0.6, 1"), 0.5),
    ("keyframe_box", SHOWN.replace("0.5, 1", "0.2, 1"), 0.0),
    ("keyframe_box", SHOWN.replace("bbox", "my_BBox"), 1.0),
    ("inner_points", DEEP, 1.0),
    # A box around the whole frame holds any points.
    ("inner_points", DEEP.replace("0.5, 1", "1, 1"), 1.0),
    ("inner_points", DEEP.replace("points_", "point_"), 0.0),
    ("inner_points", DEEP.replace("0.5, 1", "0.05, 0.05"), 0.0),
    ("inner_points", SHOWN.replace("0.1, 0.1", "0.1, 0.9"), 0.0),
]


@pytest.mark.parametrize(("reward", "answer", "value"), SEG_ZERO)
def test_seg_zero_judges_as_released(reward: str, answer: str, value: float) -> None:
    task = TASKS["mask_keyframe"]
    target = task.read_target({"times": [1.0], "masks": [rle_of(box_mask((0.0, 0.0, 0.5, 1.0), 21, 21)).to_json()]})
    assert task.published_rewards[reward](f"<answer>{answer}</answer>", target).value == value
    first = f'<think>{{"bbox": [0, 0, 0, 0]}}</think><answer>{answer}</answer>'
    assert task.published_rewards[reward](first, target).value == 0.0


@pytest.mark.parametrize("piece", ["[", "[[", "0.1, ", "1", '{"bbox": ', "{", "<answer>", " ", "`", "01 "])
def test_a_megabyte_is_judged_in_time(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    targets = (OUTLINE, BOXES, KEYFRAME, GRID, REGION)
    started = time.process_time()
    for completion in (text, f"<answer>{text}</answer>"):
        for target in targets:
            task = task_of(target)
            for reward in (*task.own_rewards.values(), *task.published_rewards.values()):
                assert reward(completion, target).value == 0.0
    assert time.process_time() - started < 2
