"""Rewards for the form of a completion: the tags, in order, once each, and an answer that can be read."""

import re
from itertools import islice

from rewards.parsing import answer_text, parse_boxes, parse_choice, parse_span, parse_spans, tag_text
from rewards.types import BoxesTarget, GroundedChoiceTarget, Score, SpanTarget, Target

_TAG = re.compile(r"</?+(?:think|answer|glue)>")


def think_format(completion: str, target: Target) -> Score:
    """1 for <think>..</think><answer>..</answer> and nothing else, with an answer of the target's kind; else 0.

    Blanks between the blocks are allowed, text is not; the thought may be empty. Grounded questions need
    <glue>..</glue> at the end, with at least one span.
    """
    return _format(completion, target, ("think", "answer"))


def answer_format(completion: str, target: Target) -> Score:
    """1 for <answer>..</answer> and nothing else, with an answer of the target's kind; else 0.

    Grounded questions need <glue>..</glue> after it, with at least one span.
    """
    return _format(completion, target, ("answer",))


def _format(completion: str, target: Target, tags: tuple[str, ...]) -> Score:
    if isinstance(target, GroundedChoiceTarget):
        tags = (*tags, "glue")
    answer = answer_text(completion)
    expected = [tag for name in tags for tag in (f"<{name}>", f"</{name}>")]
    found = list(islice(_TAG.finditer(completion), len(expected) + 1))
    if [match[0] for match in found] != expected:
        return Score(0.0, answer, f"the tags are not exactly {''.join(expected)}")
    outside = [completion[: found[0].start()], completion[found[-1].end() :]]
    outside += [completion[a.end() : b.start()] for a, b in zip(found[1::2], found[2::2], strict=False)]
    if any(text.strip() for text in outside):
        return Score(0.0, answer, "text outside the tags")
    problem = _problem(answer or "", tag_text(completion, "glue") or "", target)
    return Score(0.0, answer, problem) if problem else Score(1.0, answer, "well formed")


def _problem(answer: str, glue: str, target: Target) -> str | None:
    """Why the answer cannot be read as the target's kind, or None."""
    if isinstance(target, SpanTarget):
        span = parse_span(answer)
        return None if span and span[0] <= span[1] else "the answer is no 'start to end'"
    if isinstance(target, BoxesTarget):
        boxes = parse_boxes(answer)
        return (
            None if boxes and len(boxes) == len(target.boxes) else f"the answer is no list of {len(target.boxes)} boxes"
        )
    if parse_choice(answer) is None:
        return "the answer is no option letter"
    if isinstance(target, GroundedChoiceTarget):
        spans = parse_spans(glue)
        if not spans or any(end < start for start, end in spans):
            return "the glue is no list of (start, end)"
    return None
