from typing import Any

import pytest
from built_in import BUILT_IN
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rewards import REWARDS, RewardFn, accepted_targets
from rewards.published import PUBLISHED_EVAL
from rewards.targets import target_from_json
from rewards.targets.boxes import BoxesTarget
from rewards.targets.caption import CaptionTarget
from rewards.targets.choice import LETTERS, ChoiceTarget
from rewards.targets.grounded_choice import GroundedChoiceTarget
from rewards.targets.label import LabelTarget
from rewards.targets.span import SpanTarget
from rewards.targets.values import write_number
from rft.tasks import TASKS
from rft.tasks.spans import best_constant_span, fractions_of_clip, intersection_over_prediction
from rft.tasks.types import Task, option_lines

TIMES = st.floats(0, 1e6)
SPANS = st.tuples(TIMES, TIMES).filter(lambda span: span[0] != span[1]).map(lambda span: (min(span), max(span)))
UNITS = st.tuples(st.floats(0, 1), st.floats(0, 1)).filter(lambda edge: abs(edge[0] - edge[1]) > 1e-9).map(sorted)
BOXES = st.tuples(UNITS, UNITS).map(lambda xy: (xy[0][0], xy[1][0], xy[0][1], xy[1][1]))
CHOICES = st.sampled_from(LETTERS)
# Texts that rows are checked for: they hold a word, and no tags.
TEXTS = st.text(st.characters(exclude_characters="<>", exclude_categories=("Cs",)), max_size=20).map(
    lambda text: f"{text} a word".strip()
)
TARGETS = {
    LabelTarget: TEXTS.map(LabelTarget),
    CaptionTarget: TEXTS.map(lambda text: CaptionTarget(text, ()))
    | st.lists(TEXTS, min_size=1, max_size=4).map(lambda events: CaptionTarget("", tuple(events))),
    SpanTarget: SPANS.map(lambda span: SpanTarget(*span)),
    ChoiceTarget: CHOICES.map(ChoiceTarget),
    GroundedChoiceTarget: st.builds(GroundedChoiceTarget, CHOICES, st.lists(SPANS, min_size=1, max_size=6).map(tuple)),
    BoxesTarget: st.lists(BOXES, min_size=2, max_size=9).map(lambda boxes: BoxesTarget(tuple(boxes))),
}
CASES = [(task, think) for task in BUILT_IN.values() for think in (True, False)]


def row_of(name: str, **changes: Any) -> Any:
    task = TASKS[name]
    return task.row_type.model_validate(task.example.model_dump() | changes)


@given(st.sampled_from(CASES).flatmap(lambda case: st.tuples(st.just(case), TARGETS[case[0].target_type])))
def test_the_written_answer_earns_full_score_from_the_default_rewards(drawn) -> None:
    (task, think), target = drawn
    assert target_from_json(target.to_json()) == target
    text = task.target_completion(target, think)
    assert {name: REWARDS[name](text, target).value for name in task.default_rewards(think)} == dict.fromkeys(
        task.default_rewards(think), 1.0
    )
    assert set(task.measure(text, target).values()) == {1.0}


@pytest.mark.parametrize(("task", "think"), CASES)
def test_task_parts_fit_together(task: Task, think: bool) -> None:
    target = task.target(task.example)
    assert isinstance(target, task.target_type)
    assert task.example.task == task.name
    assert task.main_metric in task.measure("", target)
    assert set(task.measure("", target).values()) == {0.0}
    for name in task.default_rewards(think):
        assert issubclass(task.target_type, accepted_targets(REWARDS[name]))
    assert ("think_format" in task.default_rewards(think)) == think
    prompt = task.prompt_text(task.example, think)
    assert ("<think>" in prompt) == think
    assert task.target_completion(target, think, "I see").startswith("<think>I see</think>" if think else "<answer>")
    assert task.target_type.answer_form in prompt
    assert "<glue>" in prompt or task.name != "grounded_qa"
    assert prompt.isascii()


def test_prompts_hold_what_the_row_asks() -> None:
    assert "a person opens the fridge?" in TASKS["temporal_grounding"].prompt_text(
        row_of("temporal_grounding", query=" a person opens the fridge. "), True
    )
    tracking = TASKS["tracking"].prompt_text(row_of("tracking"), True)
    assert "the sloth" in tracking
    assert "[0.1, 0.2, 0.3, 0.45]" in tracking
    assert "Give 3 such boxes" in tracking
    assert "\n(A) He cries\n(B) He gets up\n(C) He runs away\n" in TASKS["multiple_choice"].prompt_text(
        row_of("multiple_choice"), True
    )


def test_prompts_of_labels_and_captions() -> None:
    assert "of these labels: low quality, high quality.\n" in TASKS["quality"].prompt_text(row_of("quality"), True)
    own = TASKS["caption"].prompt_text(row_of("caption", query=" What does the boy do? "), False)
    assert own == "What does the boy do?\nAnswer in this form: <answer>caption</answer>"
    assert "event by event" in TASKS["caption"].prompt_text(row_of("caption"), False)


def test_options_are_lettered_once() -> None:
    assert option_lines(["(A) red", " blue ", "(A) green"]) == "(A) red\n(B) blue\n(C) (A) green"


def test_a_published_end_may_lie_a_little_past_the_published_length() -> None:
    row = row_of("temporal_grounding", target={"span": [25, 32.2]})
    assert TASKS["temporal_grounding"].target(row) == SpanTarget(25, 32.2)
    assert row.clip_s == 30.7


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("temporal_grounding", {"target": {}}, "has no keys, but temporal_grounding needs"),
        ("temporal_grounding", {"target": {"choice": "A"}}, r'has choice, but temporal_grounding needs {"span"'),
        ("temporal_grounding", {"target": {"span": [5, 4]}}, "swap them or drop the row"),
        ("temporal_grounding", {"target": {"span": [25, 33]}}, "ends at 33 s, outside the clip of 30.7 s"),
        ("temporal_grounding", {"start_s": 10, "end_s": 20, "target": {"span": [5, 12]}}, "outside the clip of 10 s"),
        ("temporal_grounding", {"start_s": 10, "target": {"span": [5, 25]}}, "outside the clip of 20.7 s"),
        ("temporal_grounding", {"start_s": 40}, "the clip ends 9.3 s before it starts"),
        ("tracking", {"target": {"boxes": [[0, 0, 64, 64], [0, 0, 1, 1]]}}, "divide x by the width"),
        ("tracking", {"start_s": 4, "end_s": 3}, "the clip ends 1 s before it starts"),
        ("multiple_choice", {"target": {"choice": "D"}}, "choice: D is not among the options A..C"),
        ("multiple_choice", {"target": {"choice": "B", "spans": [[1, 2]]}}, "but multiple_choice needs"),
        ("quality", {"target": {"label": "medium"}}, "'medium' is not among the labels low quality, high quality"),
        ("quality", {"labels": ["high quality", "High Quality."]}, "are the same but for capitals"),
        ("quality", {"labels": ["high quality", "!"]}, "'!' holds no words"),
        ("quality", {"target": {"choice": "B"}}, r'but quality needs {"label"'),
        ("caption", {"target": {"events": ["A boy runs", "..."]}}, r"events\[1\]: '...' holds no words"),
        ("caption", {"target": {"text": "?"}}, r"text: '\?' holds no words"),
        ("grounded_qa", {"target": {"choice": "B"}}, r"but grounded_qa needs {.*spans"),
        ("grounded_qa", {"target": {"choice": "E", "spans": [[1, 99]]}}, r"spans\[0\] ends at 99 s.*E is not among"),
    ],
)
def test_targets_that_do_not_fit_the_row_are_explained(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TASKS[name].target(row_of(name, **changes))


def test_an_end_may_differ_from_the_clips_by_rounding() -> None:
    assert TASKS["temporal_grounding"].target(row_of("temporal_grounding", target={"span": [5, 30.74]}))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("temporal_grounding", {"query": ""}),
        ("temporal_grounding", {"object": "dog"}),
        ("temporal_grounding", {"duration_s": float("inf")}),
        ("temporal_grounding", {"start_s": -1}),
        ("temporal_grounding", {"target": None}),
        ("multiple_choice", {"options": ["one"]}),
        ("multiple_choice", {"options": ["x"] * 8}),
        ("tracking", {"source_fps": 0}),
        ("quality", {"labels": ["one"]}),
        ("caption", {"query": ""}),
    ],
)
def test_rows_with_bad_fields_are_refused(name: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        row_of(name, **changes)


def test_a_row_needs_a_target() -> None:
    with pytest.raises(ValidationError, match="target"):
        TASKS["temporal_grounding"].row_type.model_validate({"id": "1", "task": "t", "video": "v", "query": "q"})


def test_metrics_of_a_half_right_answer() -> None:
    metrics = TASKS["temporal_grounding"].measure("so <answer>2 to 3</answer>", SpanTarget(2, 4))
    assert metrics == {"mIoU": 0.5, "R@0.3": 1.0, "R@0.5": 1.0, "R@0.7": 0.0, "well_formed": 0.0}
    grounded = TASKS["grounded_qa"].measure(
        "<answer>A</answer><glue>[(2, 3)]</glue>", GroundedChoiceTarget("B", ((2, 4),))
    )
    assert grounded["mIoU"] == 0.5
    assert (grounded["accuracy"], grounded["grounded_mIoU"], grounded["well_formed"]) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("glue", "iou", "iop"),
    [
        ("[(2, 6)]", 0.6, 0.75),
        ("[(2, 3)]", 0.25, 1.0),
        ("[(2, 3), (2.5, 3)]", 0.25, 1.0),
        ("[(0, 10)]", 0.4, 0.4),
        ("[(3, 3)]", 0.0, 0.0),
        ("[(8, 9)]", 0.0, 0.0),
        ("[]", 0.0, 0.0),
        ("nothing", 0.0, 0.0),
    ],
)
def test_metrics_of_grounded_answers(glue: str, iou: float, iop: float) -> None:
    """The target is (0, 1), (2, 4) and (3, 5): four seconds."""
    target = GroundedChoiceTarget("B", ((0, 1), (2, 4), (3, 5)))
    right = TASKS["grounded_qa"].measure(f"<answer>B</answer><glue>{glue}</glue>", target)
    assert right["mIoU"] == right["grounded_mIoU"] == pytest.approx(iou)
    assert right["mIoP"] == pytest.approx(iop)
    assert (right["IoU@0.3"], right["IoU@0.5"]) == (float(iou >= 0.3), float(iou >= 0.5))
    assert (right["IoP@0.3"], right["IoP@0.5"]) == (float(iop >= 0.3), float(iop >= 0.5))
    assert right["Acc@GQA"] == float(iop >= 0.5)
    wrong = TASKS["grounded_qa"].measure(f"<answer>A</answer><glue>{glue}</glue>", target)
    assert (wrong["Acc@GQA"], wrong["mIoP"]) == (0.0, right["mIoP"])


def test_an_answer_without_length_is_not_true() -> None:
    assert (
        intersection_over_prediction([(3.0, 3.0)], [(2.0, 4.0)])
        == intersection_over_prediction([], [(2.0, 4.0)])
        == 0.0
    )
    assert intersection_over_prediction([(5.0, 4.0), (3.0, 4.0)], [(3.5, 9.0)]) == 0.5


@pytest.mark.parametrize("rewards", [REWARDS, REWARDS | PUBLISHED_EVAL], ids=["lenient", "strict"])
def test_metrics_of_tracking_with_and_without_the_start_box(rewards: dict[str, RewardFn]) -> None:
    start, moved, half = (0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0), (0.5, 0.5, 1.0, 0.8)
    target = BoxesTarget((start, moved, moved, moved))
    answer = BoxesTarget((start, moved, half, start)).written()
    metrics = TASKS["tracking"].measure(answer, target, rewards)
    assert metrics["overlap"] == metrics["AO"] == pytest.approx((1 + 0.6 + 0) / 3)
    assert metrics["overlap_with_start"] == pytest.approx((1 + 1 + 0.6 + 0) / 4)
    assert (metrics["R@0.5"], metrics["R@0.7"]) == (1.0, 0.0)
    assert (metrics["R@0.5_with_start"], metrics["R@0.7_with_start"]) == (1.0, 0.0)
    assert (metrics["SR@0.5"], metrics["SR@0.75"]) == pytest.approx((2 / 3, 1 / 3))
    only_start = TASKS["tracking"].measure(BoxesTarget((start,) * 4).written(), target, rewards)
    assert (only_start["overlap"], only_start["overlap_with_start"]) == (0.0, 0.25)
    assert set(TASKS["tracking"].measure("<answer>[]</answer>", target, rewards).values()) == {0.0}


def measured(task: Task, train: list[Any], rows: list[tuple[Any, float | None]]) -> dict[str, list[float]]:
    """Main metric of each baseline's completions, row by row; all but a letter alone must be well formed."""
    values = {}
    for name, texts in task.baselines(train, rows).items():
        assert len(texts) == len(rows)
        metrics = [task.measure(text, target) for text, (target, _) in zip(texts, rows, strict=True)]
        letter_alone = task.name == "grounded_qa" and name == "majority"
        assert letter_alone or all(metric["well_formed"] == 1.0 for metric in metrics)
        values[name] = [metric[task.main_metric] for metric in metrics]
    return values


def test_grounding_baselines() -> None:
    rows: list[tuple[Any, float | None]] = [(SpanTarget(0, 5), 10.0), (SpanTarget(5, 10), 20.0)]
    values = measured(TASKS["temporal_grounding"], [SpanTarget(0, 5), SpanTarget(1, 5), SpanTarget(8, 9)], rows)
    assert values["whole_video"] == [0.5, 0.25]
    assert values["first_half"] == [1.0, 0.5]
    assert values["middle_half"] == pytest.approx([2.5 / 7.5, 0.5])
    assert values["first_30"] == pytest.approx([0.6, 1 / 10])
    assert values["best_constant"] == [1.0, 0.0]
    unknown = measured(TASKS["temporal_grounding"], [], [(SpanTarget(0, 5), None)])
    assert unknown == {}


def test_tracking_baselines() -> None:
    start, moved = (0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)
    rows: list[tuple[Any, float | None]] = [(BoxesTarget((start, start, moved)), None)]
    values = measured(TASKS["tracking"], [BoxesTarget((start, moved))], rows)
    assert values == {"start_box": [0.5], "best_constant": [0.5]}
    assert measured(TASKS["tracking"], [], rows) == {"start_box": [0.5]}


def test_choice_baselines() -> None:
    rows: list[tuple[Any, float | None]] = [(ChoiceTarget("B"), None), (ChoiceTarget("A"), None)]
    train = [ChoiceTarget("B"), ChoiceTarget("C"), ChoiceTarget("B")]
    assert measured(TASKS["multiple_choice"], train, rows) == {"majority": [1.0, 0.0]}
    # Without training rows: the most frequent of the rows themselves, the first letter of equals.
    assert measured(TASKS["multiple_choice"], [], rows) == {"majority": [0.0, 1.0]}
    assert measured(TASKS["multiple_choice"], [], []) == {}


def test_label_baselines() -> None:
    rows: list[tuple[Any, float | None]] = [(LabelTarget("low"), None), (LabelTarget("high"), None)]
    train = [LabelTarget("low"), LabelTarget("low"), LabelTarget("high")]
    assert measured(TASKS["quality"], train, rows)["majority"] == [1.0, 0.0]
    assert measured(TASKS["caption"], [], [(CaptionTarget("A dog", ()), 3.0)]) == {"majority": [1.0]}


def test_grounded_baselines() -> None:
    rows: list[tuple[Any, float | None]] = [(GroundedChoiceTarget("B", ((0, 5),)), 10.0)]
    train = [GroundedChoiceTarget("B", ((0, 5), (7, 8))), GroundedChoiceTarget("B", ((0, 5),))]
    values = measured(TASKS["grounded_qa"], train, rows)
    assert values.pop("middle_half") == pytest.approx([2.5 / 7.5])
    assert values.pop("first_30") == pytest.approx([0.6])
    assert values == {"whole_video": [0.5], "first_half": [1.0], "best_constant": [1.0], "majority": [0.0]}
    letter = TASKS["grounded_qa"].baselines(train, rows)["majority"][0]
    assert TASKS["grounded_qa"].measure(letter, rows[0][0])["accuracy"] == 1.0


def test_the_best_constant_is_found_among_many() -> None:
    targets = [[(10 + i % 5 / 10, 15 + i % 7 / 10)] if i % 10 else [(i / 100, i / 100 + 5)] for i in range(3000)]
    assert best_constant_span(targets) == pytest.approx((10.2, 15.3), abs=0.5)
    assert best_constant_span([]) is None


def test_fractions_need_every_length() -> None:
    assert fractions_of_clip([10.0, None]) == {}
    assert fractions_of_clip([10.0])["middle_half"] == [(2.5, 7.5)]


@pytest.mark.parametrize(
    ("value", "text"), [(3, "3.0"), (-0.0, "0.0"), (12.54, "12.54"), (1e-7, "0.0000001"), (1e16, "10000000000000000")]
)
def test_numbers_are_written_without_exponent(value: float, text: str) -> None:
    assert write_number(value) == text
