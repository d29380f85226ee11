"""Rewards for answers that are the letter of an option."""

from rewards.parsing import answer_text, parse_choice
from rewards.targets.choice import ChoiceTarget
from rewards.targets.grounded_choice import GroundedChoiceTarget
from rewards.types import Score


def choice_accuracy(completion: str, target: ChoiceTarget | GroundedChoiceTarget) -> Score:
    """1 if the last <answer> names the right option's letter and no other, else 0."""
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    choice = parse_choice(answer)
    if choice is None:
        return Score(0.0, answer, "no single option letter inside <answer>", "unreadable")
    return choice_score(choice, answer, target.choice)


def choice_score(choice: str, answer: str, target_choice: str) -> Score:
    """1 if `choice` is the letter of the target, else 0."""
    if choice != target_choice:
        return Score(0.0, answer, f"chose {choice}, right is {target_choice}")
    return Score(1.0, answer, f"chose {choice}, right")
