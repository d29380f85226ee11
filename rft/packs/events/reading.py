"""Answers about events: spans, a time, scores by time. Any text is allowed; time grows linearly with it."""

import re

from rewards.parsing import LONGEST_ANSWER, parse_ranges, parse_spans, parse_words, read_once
from rewards.types import Span

MOST_EVENTS = 100
"""Most events of an answer; matching takes time by their number times that of the true ones."""

_TIME = r"(?:[0-9]{1,6}+:(?=[0-9]))?+[0-9]{1,9}+(?:\.[0-9]*+)?+"
_ONE_TIME = re.compile(rf"[^\d.:+-]*+({_TIME})(?:\s*+(?:seconds?+|secs?+|s)\b)?+[^\d:]*+", re.IGNORECASE)
_SCORED = re.compile(rf"(?<![\w.:-])({_TIME})\s*+(?:s\b\s*+)?+[:=]\s++([0-9]{{1,6}}+(?:\.[0-9]*+)?+)(?![\w:])")
_NUMBERED = re.compile(r"(?<![\w.])\(?[0-9]{1,3}[.):]\s*+(?=[^\W\d_])")
_BETWEEN_NAMES = re.compile(r"[,;|\n>\u2190-\u21ff]|\bthen\b|\band\b", re.IGNORECASE)


@read_once
def answered_spans(answer: str) -> tuple[Span, ...] | None:
    """All spans of an answer, as written: "1.0 - 2.5, 4 to 5.5 seconds" or "[(1.0, 2.5), (4, 5.5)]"; None: unreadable.

    "none" and "[]" are the empty answer.
    """
    if answer.strip(" .").casefold() in ("none", "[]"):
        return ()
    return parse_spans(answer) or parse_ranges(answer)


@read_once
def answered_time(answer: str) -> float | None:
    """The one time of an answer in seconds: "26.8", "at 26.8 seconds", "0:26"; None where there is none or several."""
    match = _ONE_TIME.fullmatch(answer) if len(answer) <= LONGEST_ANSWER else None
    return _seconds(match[1]) if match else None


def answered_saliency(answer: str, part_s: float, num_parts: int) -> list[float] | None:
    """Score of each part by "82: 3, 84.0: 4"; unnamed parts have 0, of a part named twice the highest counts.

    Times past the last part are dropped. None where no pair can be read.
    """
    pairs = _SCORED.findall(answer) if len(answer) <= LONGEST_ANSWER else []
    if not pairs:
        return None
    scores = [0.0] * num_parts
    for time, score in pairs:
        part = int(_seconds(time) / part_s + 1e-9)
        if part < num_parts:
            scores[part] = max(scores[part], float(score))
    return scores


@read_once
def answered_order(answer: str) -> tuple[str, ...]:
    """The names of a list, as written but for capitals, blanks and punctuation; () where there are none.

    Reads "red, green", "1. Red 2. Green", "red -> green", "red, then green", a name a line, and of names of one
    character "C A B" and "C-A-B".
    """
    if len(answer) > LONGEST_ANSWER:
        return ()
    listed = _NUMBERED.sub(",", answer)
    words = parse_words(listed)
    if all(len(word) == 1 for word in words):
        return words
    pieces = (" ".join(parse_words(piece)) for piece in _BETWEEN_NAMES.split(listed))
    return tuple(name for name in pieces if name)


def _seconds(time: str) -> float:
    minutes, _, seconds = time.rpartition(":")
    return 60 * float(minutes or 0) + float(seconds)
