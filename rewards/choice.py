"""Rewards for answers that are one of the shown options."""

from rewards.parsing import answer_text, parse_choice
from rewards.types import ChoiceTarget, GroundedChoiceTarget, Score


def choice_accuracy(completion: str, target: ChoiceTarget | GroundedChoiceTarget) -> Score:
    """1 if the last <answer> names the right option's letter and no other, else 0."""
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>")
    choice = parse_choice(answer)
    if choice is None:
        return Score(0.0, answer, "no single option letter inside <answer>")
    if choice != target.choice:
        return Score(0.0, answer, f"chose {choice}, right is {target.choice}")
    return Score(1.0, answer, f"chose {choice}, right")
