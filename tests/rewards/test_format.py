import pytest

from rewards.format import answer_format, think_format
from rewards.targets.boxes import BoxesTarget
from rewards.targets.caption import CaptionTarget
from rewards.targets.choice import ChoiceTarget
from rewards.targets.grounded_choice import GroundedChoiceTarget
from rewards.targets.label import LabelTarget
from rewards.targets.span import SpanTarget

SPAN = SpanTarget(1, 2)
GROUNDED = GroundedChoiceTarget("B", ((1, 2),))
BOXES = BoxesTarget(((0, 0, 1, 1), (0, 0, 1, 1)))


@pytest.mark.parametrize(
    ("completion", "value"),
    [
        ("<think>x</think><answer>1 to 2</answer>", 1),
        (" <think>x\ny</think>\n\n<answer>\n1 to 2 </answer>\n", 1),
        ("<think></think><answer>1 to 2</answer>", 1),
        ("<think>1 < 2, <b>bold</b></think><answer>1 to 2</answer>", 1),
        ("<think><<think </thinker> <//think> </ answer></think>\u00a0\x1c<answer>1 to 2</answer>", 1),
        ("<think><</think></think><answer>1 to 2</answer>", 0),
        ("<think>x</think>\u200b<answer>1 to 2</answer>", 0),
        ("<answer>1 to 2</answer>", 0),
        ("<think>x</think>", 0),
        ("<think>x</think><answer>1 to 2", 0),
        ("<think>x<answer>1 to 2</answer>", 0),
        ("<answer>1 to 2</answer><think>x</think>", 0),
        ("<think>x<answer>1 to 2</answer></think>", 0),
        ("<think>x</think><think>y</think><answer>1 to 2</answer>", 0),
        ("<think>x</think><answer>1 to 2</answer><answer>1 to 2</answer>", 0),
        ("<think>x</think> so <answer>1 to 2</answer>", 0),
        ("Well <think>x</think><answer>1 to 2</answer>", 0),
        ("<think>x</think><answer>1 to 2</answer> done", 0),
        ("<think>x</think><answer></answer>", 0),
        ("<think>x</think><answer>soon</answer>", 0),
        ("<think>x</think><answer>2 to 1</answer>", 0),
        ("<think>x</think><answer>1 to 2</answer><glue>[(1, 2)]</glue>", 0),
        ("<Think>x</Think><Answer>1 to 2</Answer>", 0),
        ("", 0),
    ],
)
def test_think_format(completion: str, value: float) -> None:
    assert think_format(completion, SPAN).value == value


@pytest.mark.parametrize(
    ("completion", "value"),
    [
        ("<answer>1 to 2</answer>", 1),
        ("\n<answer>1 to 2</answer>\n", 1),
        ("<think>x</think><answer>1 to 2</answer>", 0),
        ("x<answer>1 to 2</answer>", 0),
        ("<answer>x</answer>", 0),
        ("1 to 2", 0),
        ("", 0),
    ],
)
def test_answer_format(completion: str, value: float) -> None:
    assert answer_format(completion, SPAN).value == value


@pytest.mark.parametrize(
    ("target", "tags", "value"),
    [
        (ChoiceTarget("B"), "<answer>A</answer>", 1),
        (ChoiceTarget("B"), "<answer>red</answer>", 0),
        (GROUNDED, "<answer>A</answer><glue>[(3, 4)]</glue>", 1),
        (GROUNDED, "<answer>A</answer>", 0),
        (GROUNDED, "<glue>[(3, 4)]</glue><answer>A</answer>", 0),
        (GROUNDED, "<answer>A</answer><glue>[]</glue>", 0),
        (GROUNDED, "<answer>A</answer><glue>[(4, 3)]</glue>", 0),
        (GROUNDED, "<answer>A</answer><glue>3 to 4</glue>", 0),
        (GROUNDED, "<answer>red</answer><glue>[(3, 4)]</glue>", 0),
        (BOXES, "<answer>[[0, 0, 1, 1], [0, 0, 1, 1]]</answer>", 1),
        (BOXES, "<answer>[[0, 0, 1, 1]]</answer>", 0),
        (BOXES, "<answer>1 to 2</answer>", 0),
        (LabelTarget("high"), "<answer>low</answer>", 1),
        (LabelTarget("high"), "<answer> </answer>", 0),
        (CaptionTarget("A dog runs.", ()), "<answer>A boy falls.</answer>", 1),
        (CaptionTarget("A dog runs.", ()), "<answer></answer>", 0),
    ],
)
def test_the_answer_is_of_the_targets_kind(target, tags: str, value: float) -> None:
    assert answer_format(tags, target).value == value
    assert think_format(f"<think>x</think>{tags}", target).value == value


@pytest.mark.parametrize(
    ("target", "completion", "fault"),
    [
        (SPAN, "1 to 2", "no_tag"),
        (SPAN, "<answer>1 to 2", "no_tag"),
        (GROUNDED, "<answer>A</answer>", "no_tag"),
        (SPAN, "so <answer>1 to 2</answer>", None),
        (SPAN, "<answer>1 to 2</answer><answer>1 to 2</answer>", None),
        (SPAN, "<answer>soon</answer>", "unreadable"),
        (SPAN, "<answer>2 to 1</answer>", "reversed"),
        (ChoiceTarget("B"), "<answer>red</answer>", "unreadable"),
        (GROUNDED, "<answer>A</answer><glue>[]</glue>", "wrong_count"),
        (GROUNDED, "<answer>A</answer><glue>[(2, 1)]</glue>", "reversed"),
        (GROUNDED, "<answer>A</answer><glue>soon</glue>", "unreadable"),
        (BOXES, "<answer>soon</answer>", "unreadable"),
        (BOXES, "<answer>[[0, 0, 1, 1]]</answer>", "wrong_count"),
        (LabelTarget("high"), "<answer></answer>", "unreadable"),
    ],
)
def test_faults_of_the_form(target, completion: str, fault: str | None) -> None:
    score = answer_format(completion, target)
    assert (score.value, score.fault) == (0, fault)


@pytest.mark.parametrize(
    ("completion", "note", "fault"),
    [
        ("<think>x</think><answer>1 to 2</answer> done", "text outside the tags", None),
        ("<think>x</think> so <answer>1 to 2</answer>", "text outside the tags", None),
        ("<think>x</think><answer>1 to 2", "the tags are not exactly <think></think><answer></answer>", "no_tag"),
        ("<answer>1 to 2</answer><think></think>", "the tags are not exactly <think></think><answer></answer>", None),
    ],
)
def test_what_is_wrong_with_the_tags(completion: str, note: str, fault: str | None) -> None:
    score = think_format(completion, SPAN)
    assert (score.note, score.fault) == (note, fault)
