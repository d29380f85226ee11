"""Released readings and metrics, their faults included: E.T. Bench's of spans, Visual Jigsaw's of an order.

E.T. Bench (arXiv:2409.18111, compute_metrics.py) reads a whole answer without tags; here it reads the text of the last
answer tag. Its last resort, the likeness of sentences by MiniLM, belongs to options alone and is not needed for spans.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

from rewards.geometry import interval_iou
from rewards.parsing import LONGEST_ANSWER, answer_text
from rewards.types import Score, Span
from rft.packs.events.matching import mean_f1
from rft.packs.events.targets import AnyOfTarget, MomentTarget, OrderTarget, SpansTarget

THRESHOLDS = (0.1, 0.3, 0.5, 0.7)
PLACES_COUNT_ABOVE = 4
"""Visual Jigsaw pays for single places only where there are more pieces."""

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


def order_agreement(completion: str, target: OrderTarget) -> Score:
    """1 for the true order; else, of five names or more, a fifth of the share that stands in its place.

    Names are divided by commas alone, capitals count. A list that is longer than the true one, but has as many
    different names, earns the share too. Source: Visual Jigsaw (arXiv:2509.25190), visual_jigsaw.py; there the answer
    stands in \\boxed{}, and a thought of repeated lines costs 0.5.
    """
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    names, true = _listed(answer.split(",")), _listed(target.order)
    if names == true:
        return Score(1.0, answer, "the true order")
    in_place = sum(name == right for name, right in zip(names, true, strict=False)) / len(true)
    is_shared = len(true) > PLACES_COUNT_ABOVE and len(set(names)) == len(true)
    return Score(in_place / 5 if is_shared else 0.0, answer, f"{in_place:.2f} in their place")


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


def _listed(texts: Sequence[str]) -> list[int] | list[str]:
    """Whole numbers where all are such, else the texts without outer blanks."""
    try:
        return [int(text) for text in texts]
    except ValueError:
        return [text.strip() for text in texts]


def _float(number: str) -> float | None:
    try:
        return float(number)
    except ValueError:
        return None
