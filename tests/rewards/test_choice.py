import pytest

from rewards.choice import choice_accuracy, label_match
from rewards.targets.choice import ChoiceTarget
from rewards.targets.grounded_choice import GroundedChoiceTarget
from rewards.targets.label import LabelTarget


@pytest.mark.parametrize("target", [ChoiceTarget("C"), GroundedChoiceTarget("C", ((1, 2),))])
@pytest.mark.parametrize(
    ("completion", "value", "note"),
    [
        ("<think>(A) or (B)</think><answer>C</answer>", 1, "right"),
        ("<answer>(c) a dog</answer>", 1, "right"),
        ("<answer>A</answer><answer>C</answer>", 1, "right"),
        ("<answer>B</answer>", 0, "chose B, right is C"),
        ("<answer>C</answer><answer>B</answer>", 0, "chose B"),
        ("<answer>(B) or (C)</answer>", 0, "no single option letter"),
        ("<answer>ABCDEFG</answer>", 0, "no single option letter"),
        ("<answer></answer>", 0, "no single option letter"),
        ("C", 0, "no <answer>"),
        ("", 0, "no <answer>"),
    ],
)
def test_choice_accuracy(completion: str, target, value: float, note: str) -> None:
    score = choice_accuracy(completion, target)
    assert score.value == value
    assert note in score.note


@pytest.mark.parametrize(
    ("completion", "fault"),
    [
        ("C", "no_tag"),
        ("<answer>red</answer>", "unreadable"),
        ("<answer>A or C</answer>", "unreadable"),
        ("<answer>A</answer>", None),
        ("<answer>C</answer>", None),
    ],
)
def test_faults_of_a_choice(completion: str, fault: str | None) -> None:
    assert choice_accuracy(completion, ChoiceTarget("C")).fault == fault


@pytest.mark.parametrize(
    ("completion", "value", "fault", "note"),
    [
        ("<think>low quality?</think><answer>high quality</answer>", 1, None, "right"),
        ("<answer>\n High-Quality. </answer>", 1, None, "right"),
        ("<answer>HIGH_QUALITY</answer>", 1, None, "right"),
        ("<answer>low quality</answer><answer>high quality</answer>", 1, None, "right"),
        ("<answer>high quality</answer><answer>low quality</answer>", 0, None, "not the label 'high quality'"),
        ("<answer>low quality</answer>", 0, None, "not the label"),
        ("<answer>high quality or low quality</answer>", 0, None, "not the label"),
        ("<answer>highquality</answer>", 0, None, "not the label"),
        ("<answer>quality</answer>", 0, None, "not the label"),
        ("<answer> -- </answer>", 0, "unreadable", "no words"),
        (f"<answer>{'high quality ' * 5000}</answer>", 0, "unreadable", "too many"),
        ("high quality", 0, "no_tag", "no <answer>"),
        ("", 0, "no_tag", "no <answer>"),
    ],
)
def test_label_match(completion: str, value: float, fault: str | None, note: str) -> None:
    score = label_match(completion, LabelTarget("high quality"))
    assert (score.value, score.fault) == (value, fault)
    assert note in score.note
