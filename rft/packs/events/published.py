"""Released readings and metrics, their faults included: E.T. Bench's, and Visual Jigsaw's of an order.

E.T. Bench (arXiv:2409.18111, compute_metrics.py) reads a whole answer without tags; here it reads the text of the last
answer tag. What is left out is its last resort for letters, the likeness of an answer to the options by MiniLM.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

from rewards.geometry import interval_iou
from rewards.parsing import LONGEST_ANSWER, answer_text
from rewards.targets.choice import ChoiceTarget
from rewards.types import Score, Span
from rft.packs.events.matching import THRESHOLDS, Event, covered_share, iou_of, iou_times, mean_f1, ordered_f1, word_f1
from rft.packs.events.targets import (
    AnyOfTarget,
    LetterAndSpanTarget,
    MomentTarget,
    OrderTarget,
    SpansTarget,
    TimedCaptionsTarget,
)

PLACES_COUNT_ABOVE = 4
"""Visual Jigsaw pays for single places only where there are more pieces."""
BINS = 1000
"""Seconds of a clip that its F1 of seconds looks at."""
MOST_EVENTS = 1000
"""Most events with captions that are judged."""
LONE_S = 20.0
"""Seconds to each side of a lone time."""

# A match that begins inside a number would end where one from its first digit ends.
_NUMBER = r"(?<![0-9])[0-9]++\.*+[0-9]*+"
_DASHED = re.compile(rf"({_NUMBER})\s*+-\s*+({_NUMBER})")
_WORDED = re.compile(rf"({_NUMBER})\s*+(?<= )to \s*+({_NUMBER})")
_SENTENCE_END = re.compile(r"[!?\n]")
_EVENT_WORD = re.compile(r"start|end|happen")
_WHOLE_NUMBER = re.compile(r"\b(?:[0-9]+\.[0-9]+|[0-9]+)\b")
_BRACKETED = re.compile(r"\(([A-Za-z])\)")
_CLOCK = re.compile(rf"({_NUMBER}):({_NUMBER})")
_NUMBERS = re.compile(r"[0-9]+\.*[0-9]*(?!\.)")
_START_TIME = re.compile(rf"start(?:ing)? time: ({_NUMBER})")
_END_TIME = re.compile(rf"end(?:ing)? time: ({_NUMBER})")
_STARTS_AND_ENDS = re.compile(rf"start time {_NUMBER}, end time {_NUMBER}")
_DESCRIPTION = re.compile(r"description: (.*)")
_STARRED = re.compile(r"\*\s*(.*)")
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


def seconds_overlap_f1(completion: str, target: SpansTarget) -> Score:
    """F1 of the first thousand seconds that are answered and true, ends rounded to seconds, half to even."""
    spans = _read(completion)
    if isinstance(spans, Score):
        return spans
    answered, true = _bins(spans), _bins(target.spans)
    total = len(answered) + len(true)
    value = 2 * len(answered & true) / total if total else 0.0
    return Score(value, answer_text(completion), f"{len(answered)} seconds for {len(true)}")


def best_iou(completion: str, target: AnyOfTarget | LetterAndSpanTarget) -> Score:
    """IoU of the first span with the true span it fits best."""
    spans = _read(completion)
    if isinstance(spans, Score):
        return spans
    iou = max(interval_iou(spans[0], true) for true in target.spans)
    return Score(iou, answer_text(completion), f"IoU {iou:.3f}")


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


def choice_accuracy(completion: str, target: ChoiceTarget) -> Score:
    """1 if the first single letter in round brackets, or else the letter that the answer begins with, is the right one.

    A wrong letter in brackets does not stop the second rule.
    """
    answer = answer_text(completion)
    bracketed = _BRACKETED.search(answer) if answer and len(answer) <= LONGEST_ANSWER else None
    return _letter_score(answer, [bracketed and bracketed[1].upper(), _first_letter(answer)], target.choice)


def option_letter(completion: str, target: LetterAndSpanTarget) -> Score:
    """1 if the answer begins with the right letter: "A", "(A) ..", "A. ..", "Best Option: (A) .."."""
    answer = answer_text(completion)
    return _letter_score(answer, [_first_letter(answer)], target.choice)


def option_iou(completion: str, target: LetterAndSpanTarget) -> Score:
    """`best_iou` where `option_letter` is 1, else 0."""
    letter = option_letter(completion, target)
    return best_iou(completion, target) if letter.value else letter


def event_times(completion: str, target: TimedCaptionsTarget) -> Score:
    """SODA_d of the events that the released code reads."""
    events = _read_events(completion)
    if isinstance(events, Score):
        return events
    return _event_score(ordered_f1(events, target.events, iou_of), completion, events)


def event_captions(completion: str, target: TimedCaptionsTarget) -> Score:
    """`event_captions` of the pack, of the events that the released code reads."""
    events = _read_events(completion)
    if isinstance(events, Score):
        return events
    return _event_score(ordered_f1(events, target.events, iou_times(word_f1)), completion, events)


def span_precision(completion: str, target: TimedCaptionsTarget, *, iou: float = 0.5) -> Score:
    """Share of the events that the released code reads that overlap any true one by more than `iou`."""
    events = _read_events(completion)
    if isinstance(events, Score):
        return events
    share = covered_share([span for span, _ in events], [span for span, _ in target.events], iou, strictly=True)
    return _event_score(share, completion, events)


def span_recall(completion: str, target: TimedCaptionsTarget, *, iou: float = 0.5) -> Score:
    """Share of the true events that any event that the released code reads overlaps by more than `iou`."""
    events = _read_events(completion)
    if isinstance(events, Score):
        return events
    share = covered_share([span for span, _ in target.events], [span for span, _ in events], iou, strictly=True)
    return _event_score(share, completion, events)


def released_events(text: str) -> list[Event]:
    """Every "number - number" with a caption, in lower case, ends swapped into order; the shorter list decides.

    Captions are the pieces of more than 5 characters that are left where spans, line breaks and "seconds" are taken
    out, so text before the first span shifts them by one. Without spans "start time: 3, end time: 9 .. description: .."
    is read; where nothing is found, one event, by the first line or sentence with one or two numbers.
    """
    text = text[:LONGEST_ANSWER]
    lower = text.lower()
    found = list(_DASHED.finditer(lower))
    pairs, pieces = [(match[1], match[2]) for match in found], []
    for written in dict.fromkeys(match[0] for match in found):
        lower = lower.replace(written, "\n")
    if pairs:
        pieces = lower.replace("seconds", "").split("\n")
    elif pairs := list(zip(_START_TIME.findall(lower), _END_TIME.findall(lower), strict=False)):
        pieces = _DESCRIPTION.findall(lower) or _STARRED.findall(lower)
    elif _STARTS_AND_ENDS.search(lower):
        return []  # the released code raises
    spans = _in_order(pairs)
    if pairs and not spans:
        return []
    captions = [piece.strip().strip(", ").rstrip() for piece in pieces if len(piece) > 5]
    return list(zip(spans, captions, strict=False))[:MOST_EVENTS] or _lone_event(text)


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
    return _in_order(pairs)


def _in_order(pairs: Sequence[tuple[str, str]]) -> list[Span]:
    """The pairs as spans with their ends in order; [] where one of them is no number."""
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


def _lone_event(text: str) -> list[Event]:
    """The first line, or sentence of a text of one line, in which a time is found, as an event."""
    pieces = text.split("\n") if "\n" in text else [f"{piece}." for piece in text.split(".") if len(piece) > 7]
    for piece in pieces:
        parts = [part.strip(",") for part in piece.split("seconds")]
        span = _lone_span(parts[0]) if len(piece) > 7 else None
        if span:
            return [(span, parts[-1].strip())]
    return []


def _lone_span(text: str) -> Span | None:
    """A span by "3 - 9", "1:05 .. 1:20", two numbers, or by one clock time or number, which gets 40 seconds."""
    dashed, clocks = _DASHED.search(text), _CLOCK.findall(text)
    if dashed:
        times = [_float(dashed[1]), _float(dashed[2])]
    elif text.count(":") in (1, 2):
        are_whole = all(part.isdigit() for clock in clocks for part in clock)
        times = [60.0 * int(m) + int(s) for m, s in clocks] if are_whole and len(clocks) == text.count(":") else []
    else:
        times = [_float(number) for number in _NUMBERS.findall(text)]
    known = [time_s for time_s in times if time_s is not None]
    if len(known) < len(times) or len(times) not in (1, 2):
        return None
    first, last = min(known), max(known)
    if len(known) == 1:
        first, last = (first - LONE_S, first + LONE_S) if first > LONE_S else (first, first + 2 * LONE_S)
    return round(first, 2), round(last, 2)


def _read_events(completion: str) -> list[Event] | Score:
    answer = answer_text(completion)
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    return released_events(answer) or Score(0.0, answer, "nothing that the released code reads", "unreadable")


def _event_score(value: float, completion: str, events: Sequence[Event]) -> Score:
    return Score(value, answer_text(completion), f"{len(events)} events")


def _first_letter(answer: str | None) -> str | None:
    """The letter that an answer begins with, before its end or one of ".", ",", ")" and a blank."""
    text = (answer or "")[:LONGEST_ANSWER]
    text = text[12:] if text.lower().startswith("best option:") else text
    text = text.lstrip().lstrip("(").lstrip()
    return text[0].upper() if text and (len(text) == 1 or text[1] in ".,) ") else None


def _letter_score(answer: str | None, letters: Sequence[str | None], choice: str) -> Score:
    if answer is None:
        return Score(0.0, None, "no <answer>", "no_tag")
    if not any(letters):
        return Score(0.0, answer, "no letter that the released code reads", "unreadable")
    return Score(float(choice in letters), answer, f"read {' and '.join(filter(None, letters))}, right is {choice}")


def _bins(spans: Sequence[Span]) -> set[int]:
    """The seconds of spans, as numbers from 0."""
    ends = [(max(0, round(min(start, BINS))), round(min(end, BINS))) for start, end in spans]
    return {second for start, end in ends for second in range(start, end)}


def _float(number: str) -> float | None:
    try:
        return float(number)
    except ValueError:
        return None
