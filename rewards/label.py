"""Rewards for answers that are one of a fixed set of labels."""

import re

from rewards.parsing import LONGEST_ANSWER, answer_text
from rewards.targets.label import LabelTarget
from rewards.types import Score

_WORD = re.compile(r"[^\W_]++")


def label_match(completion: str, target: LabelTarget) -> Score:
    """1 if the last <answer> is the label and nothing else, else 0; capitals, blanks and punctuation do not count.

    Source: VideoChat-R1, arXiv:2504.06958.
    """
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    words = label_words(answer)
    if not words:
        return Score(0.0, answer, "no words inside <answer>, or too many", "unreadable")
    if words != label_words(target.label):
        return Score(0.0, answer, f"not the label {target.label!r}")
    return Score(1.0, answer, "the right label")


def label_words(text: str) -> tuple[str, ...]:
    """Words of a label in lower case, by which labels are compared: "High-Quality." is ("high", "quality")."""
    return tuple(_WORD.findall(text.casefold())) if len(text) <= LONGEST_ANSWER else ()
