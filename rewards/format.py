"""Rewards for the form of a completion: the tags, in order, once each, and an answer that can be read."""

import functools
import re
from itertools import islice

from rewards.parsing import answer_text
from rewards.types import Score, Target

TAGS = ("think", "answer", "glue")
"""Tags that may occur only around their own block."""


def think_format(completion: str, target: Target) -> Score:
    """1 for <think>..</think><answer>..</answer> and nothing else, with an answer of the target's kind; else 0.

    Blanks between the blocks are allowed, text is not; the thought may be empty. The target says which
    blocks follow the thought and what they must hold (`tags`, `format_problem`): grounded questions need
    <glue>..</glue> at the end, with at least one span; labels and captions need any words at all.
    """
    return _format(completion, target, ("think",))


def answer_format(completion: str, target: Target) -> Score:
    """1 for <answer>..</answer> and nothing else, with an answer of the target's kind; else 0.

    Grounded questions need <glue>..</glue> after it, with at least one span; labels and captions any words at all.
    """
    return _format(completion, target, ())


def _format(completion: str, target: Target, before: tuple[str, ...]) -> Score:
    tags = (*before, *target.tags)
    answer = answer_text(completion)
    if _blocks(tags).fullmatch(completion) is None:
        expected = [tag for name in tags for tag in (f"<{name}>", f"</{name}>")]
        if [match[0] for match in islice(_any_tag(tags).finditer(completion), len(expected) + 1)] == expected:
            return Score(0.0, answer, "text outside the tags")
        missing = any(tag not in completion for tag in expected)
        return Score(0.0, answer, f"the tags are not exactly {''.join(expected)}", "no_tag" if missing else None)
    problem = target.format_problem(answer or "", completion)
    return Score(0.0, answer, *problem) if problem else Score(1.0, answer, "well formed")


@functools.cache
def _any_tag(tags: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"</?+(?:{'|'.join(dict.fromkeys((*TAGS, *tags)))})>")


@functools.cache
def _blocks(tags: tuple[str, ...]) -> re.Pattern[str]:
    """Pattern of the blocks in order, with no tag inside and only blanks around."""
    inside = rf"[^<]*+(?:(?!{_any_tag(tags).pattern})<[^<]*+)*+"
    return re.compile(r"\s*+" + r"\s*+".join(f"<{tag}>{inside}</{tag}>" for tag in tags) + r"\s*+")
