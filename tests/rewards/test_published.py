"""The published parser, worked out by hand: each oddity of the released code once."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards import PUBLISHED, PUBLISHED_EVAL, REWARDS, accepted_targets, rewards_of
from rewards.published_parsing import first_block, last_block
from rewards.targets.boxes import BoxesTarget
from rewards.targets.caption import CaptionTarget
from rewards.targets.choice import ChoiceTarget
from rewards.targets.grounded_choice import GroundedChoiceTarget
from rewards.targets.label import LabelTarget
from rewards.targets.span import SpanTarget

SPAN = SpanTarget(2, 4, duration_s=30)
GROUNDED = GroundedChoiceTarget("C", ((1.0, 2.0), (4.0, 6.0)), duration_s=30)
BOX = "[0, 0, 0.5, 0.5]"
SEVEN = ", ".join([BOX] * 7)
EIGHT = f"[{SEVEN}, {BOX}]"
BOXES = BoxesTarget(((0, 0, 0.5, 0.5),) * 8)
GLUE = "<glue>[(1, 2)]</glue>"


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("", None, None),
        ("<answer>a", None, None),
        ("a</answer>", None, None),
        ("</answer>a<answer>", None, None),
        ("<answer> a </answer>", " a ", " a "),
        ("<answer>a</answer><answer>b</answer>", "a", "b"),
        ("<answer>a<answer>b</answer>", "a<answer>b", "a<answer>b"),
        ("<answer>a</answer>b</answer>", "a", "a"),
        ("<answer>a</answer></answer><answer>b<answer>c</answer></answer><answer>d", "a", "b<answer>c"),
    ],
)
def test_blocks_follow_one_another(text: str, first: str | None, last: str | None) -> None:
    assert first_block(text, "answer") == first
    assert last_block(text, "answer") == last


@pytest.mark.parametrize(
    ("answer", "value", "fault"),
    [
        ("2 to 4", 1, None),
        ("2.0 AND 3. seconds", 0.5, None),
        ("9 to 10, 2 to 4", 1, None),
        ("-2 to 4", 1, None),
        ("1:2 to 4:30", 1, None),
        ("9.2.0 to 4", 1, None),
        ("2 and 4 and 9", 1, None),
        ("\u0662 to \u0664", 1, None),
        ("4 to 2", 0, "reversed"),
        ("31 to 40", 0, "out_of_range"),
        ("2 to " + "9" * 400, 0, None),
        ("9" * 400 + " to " + "9" * 400, 0, None),
        ("2s to 4s", 0, "unreadable"),
        ("2 - 4", 0, "unreadable"),
        ("2  to 4", 0, "unreadable"),
        ("2 to\n4", 0, "unreadable"),
        ("2 to .4", 0, "unreadable"),
        ("", 0, "unreadable"),
    ],
)
def test_temporal_iou(answer: str, value: float, fault: str | None) -> None:
    score = PUBLISHED["temporal_iou"](f"<answer>1 to 9</answer><answer>{answer}</answer>", SPAN)
    assert score.value == pytest.approx(value)
    assert score.fault == fault


@pytest.mark.parametrize(
    ("completion", "trained", "evaluated"),
    [
        ("2 to 4", 0, 1),
        ("<think>2 to 4</think><answer>soon</answer>", 0, 1),
        ("<answer>2 to 4</answer> not 5 to 9", 1, 0),
        ("<answer>2 TO 4</answer>", 1, 0),
        ("<answer>2 to 4", 0, 1),
        ("soon", 0, 0),
    ],
)
def test_evaluation_reads_the_whole_completion(completion: str, trained: float, evaluated: float) -> None:
    assert PUBLISHED["temporal_iou"](completion, SPAN).value == trained
    assert PUBLISHED_EVAL["temporal_iou"](completion, SPAN).value == evaluated


@pytest.mark.parametrize(
    ("glue", "value", "fault"),
    [
        ("[(1, 2), (4, 6)]", 1, None),
        ("[(4,6),\n(1.0,2.0),]\n", 1, None),
        ("[(1, 2), (1, 2), (4, 5), (5, 6)]", 1, None),
        ("[(00, 00.5), (1, 2)]", 1 / 3.5, None),
        ("[(31, 40)]", 0, "out_of_range"),
        ("[]", 0, "wrong_count"),
        ("[(1, 2), (6, 4)]", 0, "reversed"),
        ("[(01, 2)]", 0, "unreadable"),
        (" [(1, 2)]", 0, "unreadable"),
        ("[(1, 2)] ", 0, "unreadable"),
        ("[( 1, 2)]", 0, "unreadable"),
        ("[(1 , 2)]", 0, "unreadable"),
        ("[(1, 2), ]", 0, "unreadable"),
        ("[(1,\u00a02)]", 0, "unreadable"),
        ("[(.5, 2)]", 0, "unreadable"),
        ("[(1., 2)]", 0, "unreadable"),
        ("[(-1, 2)]", 0, "unreadable"),
        ("[(1, 2e0)]", 0, "unreadable"),
        ("[(\u0661, 2)]", 0, "unreadable"),
        ("[[1, 2]]", 0, "unreadable"),
        ("(1, 2)", 0, "unreadable"),
        ("[(1, " + "9" * 5000 + ")]", 0, "unreadable"),
        ("[(1, " + "9" * 400 + ")]", 0, None),
        ("[(1, " + "9" * 400 + ".0)]", 0, None),
    ],
)
def test_union_iou(glue: str, value: float, fault: str | None) -> None:
    score = PUBLISHED["union_iou"](f"<answer>C</answer><glue>{glue}</glue><glue>[(0, 99)]</glue>", GROUNDED)
    assert score.value == pytest.approx(value)
    assert score.fault == fault


def test_an_empty_union_is_full_score() -> None:
    nothing = GroundedChoiceTarget("C", ((3, 3),))
    assert PUBLISHED["union_iou"]("<glue>[]</glue>", nothing).value == 1
    assert PUBLISHED["union_iou"]("<glue>[(7, 7)]</glue>", nothing).value == 1
    assert PUBLISHED["union_iou"]("<glue>[(7, 8)]</glue>", nothing).value == 0
    assert REWARDS["union_iou"]("<glue>[(3, 3)]</glue>", nothing).value == 0


@pytest.mark.parametrize(
    ("answer", "value", "well_formed", "fault"),
    [
        (EIGHT, 1, 1, None),
        (" \t" + EIGHT.replace(", ", ",\n") + "\n", 1, 1, None),
        (f"[{SEVEN},{BOX},\n]", 1, 1, None),
        (f"([{SEVEN}, {BOX}])", 1, 1, None),
        (f"[{SEVEN}, [.5, .5, 1., 1e0]]", 7 / 8, 1, None),
        (f"[{SEVEN}, [0.5, 0, 0, 0.5]]", 7 / 8, 1, None),
        (f"[{SEVEN}, [0, 0, 1, 2]]", 7.125 / 8, 1, "out_of_range"),
        (f"[{SEVEN}, [False, 0, True, 0.5]]", 7.5 / 8, 1, None),
        (f"[{SEVEN}, [0, 0, 0, 1e999]]", 0, 1, "out_of_range"),
        (f"[{SEVEN}, [0, 0, '1', 1]]", 0, 1, "unreadable"),
        (f"[{SEVEN}, [0, 0, 1j, None]]", 0, 1, "unreadable"),
        (f"[{SEVEN}, [0, 0, 1, {'9' * 400}]]", 0, 1, "unreadable"),
        (f"[{SEVEN}, [00, 0, 0.5, 01]]", 0, 0, "unreadable"),
        (f"[{SEVEN}, (0, 0, 1, 1)]", 0, 0, "unreadable"),
        (f"[{SEVEN}, [0, 0, 1]]", 0, 0, "unreadable"),
        (f"[{SEVEN}]", 0, 0, "wrong_count"),
        (f"[{SEVEN}, [0.1, 0.2], ...]", 0, 0, "wrong_count"),
        (f"[{EIGHT[1:-1]}, {BOX}]", 0, 0, "wrong_count"),
        (f"({EIGHT[1:-1]})", 0, 0, "unreadable"),
        (f"The boxes: {EIGHT}", 0, 0, "unreadable"),
        (EIGHT[:-1], 0, 0, "unreadable"),
        ("", 0, 0, "unreadable"),
    ],
)
def test_boxes(answer: str, value: float, well_formed: float, fault: str | None) -> None:
    completion = f"<answer>{answer}</answer>"
    score = PUBLISHED["mean_box_iou"](f"{completion}<answer>{EIGHT}</answer>", BOXES)
    assert score.value == pytest.approx(value)
    assert score.fault == fault
    form = PUBLISHED["answer_format"](completion, BOXES)
    assert form.value == well_formed
    assert PUBLISHED["think_format"](f"<think></think>\n{completion}", BOXES).value == well_formed
    assert not (form.value and form.fault)


@given(st.lists(st.floats(0.01, 1), min_size=8, max_size=8))
def test_eight_boxes_are_averaged_as_numpy_does(heights: list[float]) -> None:
    target = BoxesTarget(((0, 0, 1, 1),) * 8)
    ious = [height / (height + 1 - height) for height in heights]
    score = PUBLISHED["mean_box_iou"](f"<answer>{[[0, 0, 1, height] for height in heights]}</answer>", target)
    assert score.value == min(1.0, float(numpy.mean(ious)))


def test_line_breaks_may_part_a_tag_in_training_alone() -> None:
    completion = f"<ans\nwer>{EIGHT}</answer>"
    assert PUBLISHED["mean_box_iou"](completion, BOXES).value == 1
    assert PUBLISHED_EVAL["mean_box_iou"](completion, BOXES).fault == "no_tag"
    assert PUBLISHED["answer_format"](completion, BOXES).value == 0


def test_the_start_box_counts_unless_left_out() -> None:
    target = BoxesTarget(((0, 0, 0.5, 0.5), *((0.5, 0.5, 1, 1),) * 7))
    completion = f"<answer>{EIGHT}</answer>"
    assert PUBLISHED["mean_box_iou"](completion, target).value == 1 / 8
    assert PUBLISHED["mean_box_iou"](completion, target, skip_start=True).value == 0
    alone = BoxesTarget(((0, 0, 0.5, 0.5),))
    assert PUBLISHED["mean_box_iou"](f"<answer>[{BOX}]</answer>", alone).value == 1
    assert PUBLISHED["mean_box_iou"](f"<answer>[{BOX}]</answer>", alone, skip_start=True).value == 0


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("C", "C"),
        (" (C) a dog", "C"),
        ("The best answer is C", "C"),
        ("C or D", "C"),
        ("Answer: C", "A"),
        ("Best answer: C", "B"),
        ("Best answer:Best option: C", "C"),
        ("Because C", "B"),
        ("Dance", "D"),
        ("Go", "G"),
        ("the one in which he goes on to sit down on the sofa C", "C"),
        ("c", None),
        ("H", None),
        ("", None),
    ],
)
def test_choice_accuracy(answer: str, letter: str | None) -> None:
    completion = f"<answer>{answer}</answer><answer>E</answer>"
    for target in "ABCDEFG":
        score = PUBLISHED["choice_accuracy"](completion, ChoiceTarget(target))
        assert score.value == float(target == letter)
        assert score.fault == (None if letter else "unreadable")
    assert PUBLISHED["choice_accuracy"](completion, GROUNDED).value == float(letter == "C")
    assert PUBLISHED["choice_accuracy"]("C", GROUNDED).fault == "no_tag"


@pytest.mark.parametrize(
    ("answer", "value"),
    [(" High Quality\n", 1), ("high quality.", 0), ("high-quality", 0), ("low quality", 0), ("", 0)],
)
def test_label_match(answer: str, value: float) -> None:
    completion = f"<answer>{answer}</answer><answer>high quality</answer>"
    assert PUBLISHED["label_match"](completion, LabelTarget("high quality")).value == value


@pytest.mark.parametrize(
    ("completion", "value", "fault"),
    [
        ("<think></think><answer></answer>", 1, None),
        (" <think>a\n</think>\n\n<answer>b</answer>\n", 1, None),
        ("<think>a</think><think>b</think><answer>c</answer>", 1, None),
        ("<think>a</think><answer>b</answer> so <answer>c</answer>", 1, None),
        ("<think>a</think> so <think>b</think><answer><think></answer>", 1, None),
        ("<think>a</think> so <answer>b</answer>", 0, None),
        ("<think>a</think><timestep>1</timestep><answer>b</answer>", 0, None),
        ("<think>a</think><answer>b</answer> done", 0, None),
        ("well <think>a</think><answer>b</answer>", 0, None),
        ("<think></answer></think><answer>", 0, None),
        ("<think>a<answer>b</answer>", 0, "no_tag"),
        ("<answer>b</answer>", 0, "no_tag"),
        ("", 0, "no_tag"),
    ],
)
def test_think_format(completion: str, value: float, fault: str | None) -> None:
    for target in (SPAN, LabelTarget("x"), CaptionTarget("x", ())):
        score = PUBLISHED["think_format"](completion, target)
        assert (score.value, score.fault) == (value, fault)


@pytest.mark.parametrize("target", [GROUNDED, ChoiceTarget("C")])
@pytest.mark.parametrize(
    ("completion", "value", "fault"),
    [
        (f"<answer></answer> {GLUE}", 1, None),
        ("<answer>A</answer><glue>[]</glue>", 1, None),
        ("<answer>A</answer><glue>[(2, 1)]</glue>", 0, "reversed"),
        ("<answer>A</answer><glue>[[1, 2]]</glue>", 0, "unreadable"),
        ("<answer>A<glue>x</glue></answer>" + GLUE, 0, "unreadable"),
        (f"<answer>A</answer> and {GLUE}", 0, None),
        (f"{GLUE}<answer>A</answer>", 0, None),
        ("<answer>A</answer>", 0, "no_tag"),
    ],
)
def test_questions_need_glue_even_where_no_prompt_requests_it(target, completion: str, value: float, fault) -> None:
    score = PUBLISHED["answer_format"](completion, target)
    assert (score.value, score.fault) == (value, fault)
    score = PUBLISHED["think_format"](f"<think></think>{completion}", target)
    assert (score.value, score.fault) == (value, fault)


def test_the_form_without_a_thought() -> None:
    assert PUBLISHED["answer_format"]("<answer>soon</answer>", SPAN).value == 1
    assert PUBLISHED["answer_format"]("<think></think><answer>soon</answer>", SPAN).value == 0
    # The released reward of labels without a thought asks for the thought.
    assert PUBLISHED["answer_format"]("<answer>x</answer>", LabelTarget("x")).value == 0
    assert PUBLISHED["answer_format"]("<think></think><answer>x</answer>", LabelTarget("x")).value == 1


def test_the_tables() -> None:
    assert rewards_of(None) == rewards_of("corrected") == REWARDS
    published = rewards_of("as_published")
    assert {name for name in REWARDS if published[name] is not REWARDS[name]} == set(PUBLISHED)
    assert set(PUBLISHED_EVAL) == set(PUBLISHED) <= set(REWARDS)
    for name, fn in PUBLISHED.items():
        assert accepted_targets(fn) == accepted_targets(REWARDS[name]) == accepted_targets(PUBLISHED_EVAL[name])
