import pytest

from rewards.choice import choice_accuracy
from rewards.targets.choice import ChoiceTarget
from rewards.targets.grounded_choice import GroundedChoiceTarget


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
