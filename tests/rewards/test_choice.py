import pytest

from rewards.choice import choice_accuracy
from rewards.types import ChoiceTarget, GroundedChoiceTarget


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
