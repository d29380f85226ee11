"""Rewards for the form of a completion: the tags, in order, once each, and an answer that can be read."""

import functools
import re
from itertools import islice

from rewards.parsing import LONGEST_ANSWER, answer_text, parse_boxes, parse_choice, parse_span, parse_spans, tag_text
from rewards.types import BoxesTarget, ChoiceTarget, Fault, GroundedChoiceTarget, Score, SpanTarget, Target

_WORD = re.compile(r"[^\W_]")
_TAG = re.compile(r"</?+(?:think|answer|glue)>")


def think_format(completion: str, target: Target) -> Score:
    """1 for <think>..</think><answer>..</answer> and nothing else, with an answer of the target's kind; else 0.

    Blanks between the blocks are allowed, text is not; the thought may be empty. Grounded questions need
    <glue>..</glue> at the end, with at least one span; labels and captions need any words at all.
    """
    return _format(completion, target, ("think", "answer"))


def answer_format(completion: str, target: Target) -> Score:
    """1 for <answer>..</answer> and nothing else, with an answer of the target's kind; else 0.

    Grounded questions need <glue>..</glue> after it, with at least one span; labels and captions any words at all.
    """
    return _format(completion, target, ("answer",))


def _format(completion: str, target: Target, tags: tuple[str, ...]) -> Score:
    if isinstance(target, GroundedChoiceTarget):
        tags = (*tags, "glue")
    answer = answer_text(completion)
    if _blocks(tags).fullmatch(completion) is None:
        return Score(0.0, answer, *_tag_problem(completion, tags))
    problem = _problem(completion, answer or "", target)
    return Score(0.0, answer, *problem) if problem else Score(1.0, answer, "well formed")


@functools.cache
def _blocks(tags: tuple[str, ...]) -> re.Pattern[str]:
    """The blocks in order, no tag inside, only blanks around."""
    inside = rf"[^<]*+(?:(?!{_TAG.pattern})<[^<]*+)*+"
    return re.compile(r"\s*+" + r"\s*+".join(f"<{tag}>{inside}</{tag}>" for tag in tags) + r"\s*+")


def _tag_problem(completion: str, tags: tuple[str, ...]) -> tuple[str, Fault | None]:
    """Why a completion is not just these blocks."""
    expected = [tag for name in tags for tag in (f"<{name}>", f"</{name}>")]
    if [match[0] for match in islice(_TAG.finditer(completion), len(expected) + 1)] == expected:
        return "text outside the tags", None
    missing = any(tag not in completion for tag in expected)
    return f"the tags are not exactly {''.join(expected)}", "no_tag" if missing else None


def _problem(completion: str, answer: str, target: Target) -> tuple[str, Fault] | None:
    """Why the answer cannot be read as the target's kind, or None."""
    if isinstance(target, SpanTarget):
        return _span_problem(answer)
    if isinstance(target, BoxesTarget):
        boxes = parse_boxes(answer)
        if boxes is None:
            return "the answer is no list of boxes", "unreadable"
        count, asked = len(boxes), len(target.boxes)
        return None if count == asked else (f"the answer has {count} boxes, asked for {asked}", "wrong_count")
    if isinstance(target, (ChoiceTarget, GroundedChoiceTarget)):
        if parse_choice(answer) is None:
            return "the answer is no option letter", "unreadable"
        return _glue_problem(completion) if isinstance(target, GroundedChoiceTarget) else None
    has_words = len(answer) <= LONGEST_ANSWER and _WORD.search(answer)
    return None if has_words else ("the answer holds no words, or too many", "unreadable")


def _span_problem(answer: str) -> tuple[str, Fault] | None:
    span = parse_span(answer)
    if span is None:
        return "the answer is no 'start to end'", "unreadable"
    return None if span[0] <= span[1] else ("the answer ends before it starts", "reversed")


def _glue_problem(completion: str) -> tuple[str, Fault] | None:
    spans = parse_spans(tag_text(completion, "glue") or "")
    if spans is None:
        return "the glue is no list of (start, end)", "unreadable"
    if not spans:
        return "the glue is an empty list", "wrong_count"
    return ("a span of the glue ends before it starts", "reversed") if any(e < s for s, e in spans) else None
