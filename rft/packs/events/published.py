"""E.T. Bench's released reading and metric of spans (arXiv:2409.18111, compute_metrics.py), its faults included.

It reads the text behind the last answer tag here; the released code reads a whole answer without tags. Its last resort,
the likeness of sentences by MiniLM, belongs to options alone and is not needed for spans.
"""

import re
from itertools import pairwise

from rewards.geometry import interval_iou
from rewards.parsing import LONGEST_ANSWER, answer_text
from rewards.types import Score, Span
from rft.packs.events.matching import mean_f1
from rft.packs.events.targets import AnyOfTarget, MomentTarget, SpansTarget

THRESHOLDS = (0.1, 0.3, 0.5, 0.7)

# A match that begins inside a number would end where one from its first digit ends.
_NUMBER = r"(?<![0-9])[0-9]++\.*+[0-9]*+"
_DASHED = re.compile(rf"({_NUMBER})\s*+-\s*+({_NUMBER})")
_WORDED = re.compile(rf"({_NUMBER})\s*+(?<= )to \s*+({_NUMBER})")
_SENTENCE_END = re.compile(r"[!?\n]")
_EVENT_WORD = re.compile(r"start|end|happen")
_WHOLE_NUMBER = re.compile(r"\b(?:[0-9]+\.[0-9]+|[0-9]+)\b")
_SIGNED = re.compile(r"[-+]?[0-9]*\.[0-9]+|[-+]?[0-9]+")


def span_set_f1(completion: str, target: SpansTarget) -> Score:
    """F1 of precision and recall at IoU .1, .3, .5 and .7, mean over them; any span may cover any other.

    The same span ten times costs nothing, which `span_set_f1` of the pack mends.
    """
    spans = _read(completion)
    if isinstance(spans, Score):
        return spans
    value = mean_f1(spans, target.spans, THRESHOLDS)
    return Score(value, answer_text(completion), f"{len(spans)} spans for {len(target.spans)}")


def best_iou(completion: str, target: AnyOfTarget) -> Score:
    """Share of the thresholds .1, .3, .5, .7 that the first span reaches with the true span it fits best."""
    spans = _read(completion)
    if isinstance(spans, Score):
        return spans
    iou = max(interval_iou(spans[0], true) for true in target.spans)
    return Score(sum(iou >= t for t in THRESHOLDS) / len(THRESHOLDS), answer_text(completion), f"IoU {iou:.3f}")


def moment_nearness(completion: str, target: MomentTarget) -> Score:
    """1 if the first number of the text, a hyphen before it taken as its sign, lies in a true span, ends included."""
    answer = answer_text(completion)
    match = _SIGNED.search(answer) if answer is not None and len(answer) <= LONGEST_ANSWER else None
    time_s = _float(match[0]) if match else None
    if answer is None or time_s is None:
        return Score(0.0, answer, "no number", "unreadable")
    return Score(float(any(start <= time_s <= end for start, end in target.spans)), answer, f"{time_s:g} s")


def released_spans(text: str) -> list[Span]:
    """The spans that the released code reads: with a hyphen, else with " to ", else sentences' numbers in pairs.

    "5.0s - 9.0s", "between 3 and 9" and every dash but the hyphen read as nothing; "00:10 - 00:20" reads as 0 to 10.
    Ends are swapped into order. Where the released code raises, as at "12.. - 14", nothing is read.
    """
    text = text[:LONGEST_ANSWER].lower()
    pairs = _DASHED.findall(text) or _WORDED.findall(text)
    if not pairs:
        sentences = [part for part in _SENTENCE_END.split(text) if _EVENT_WORD.search(part)]
        numbers = [match[0] for part in sentences if (match := _WHOLE_NUMBER.search(part))]
        pairs = list(pairwise(numbers))[::2]
    values = [(_float(a), _float(b)) for a, b in pairs]
    spans = [(a, b) for a, b in values if a is not None and b is not None]
    return [(min(span), max(span)) for span in spans] if len(spans) == len(values) else []


def _read(completion: str) -> list[Span] | Score:
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    return released_spans(answer) or Score(0.0, answer, "nothing that the released code reads", "unreadable")


def _float(number: str) -> float | None:
    try:
        return float(number)
    except ValueError:
        return None
