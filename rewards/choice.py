"""Rewards for answers that choose one of several: the letter of an option, or a label."""

from rewards.parsing import answer_text, parse_choice, parse_words
from rewards.targets.choice import ChoiceTarget
from rewards.targets.grounded_choice import GroundedChoiceTarget
from rewards.targets.label import LabelTarget
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


def label_match(completion: str, target: LabelTarget) -> Score:
    """1 if the last <answer> is the label and nothing else, else 0; capitals, blanks and punctuation do not count.

    Source: VideoChat-R1, arXiv:2504.06958.
    """
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    words = parse_words(answer)
    if not words:
        return Score(0.0, answer, "no words inside <answer>, or too many", "unreadable")
    if words != parse_words(target.label):
        return Score(0.0, answer, f"not the label {target.label!r}")
    return Score(1.0, answer, "the right label")
