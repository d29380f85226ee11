"""Text -> values. Any text is allowed, nothing raises, and time grows linearly with the text.

No pattern begins inside a number, and all use possessive quantifiers, so that none backtracks.
Digits are ASCII; times with an exponent or a thousands comma are not read.
"""

import functools
import math
import re

from rewards.types import Box, Span

LONGEST_ANSWER = 50_000
"""Most characters of an answer; a longer text is not parsed."""

_NUMBER = r"(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)"
# Characters of numbers that float() reads; they spell none of its words, such as "inf".
_COORDINATE = "[-+.0-9eE]++"
# Hours, minutes and seconds, or minutes and seconds.
_CLOCK = r"[0-9]++(?::[0-5][0-9]){1,2}+(?:\.[0-9]*+)?+"
_TIME = rf"(?:{_CLOCK}|{_NUMBER})"
_UNIT = r"(?:(?:seconds?+|secs?+|s)\b\s*+)?+"
_JOIN = r"(?:to\b|and\b|until\b|till\b|-{1,2}+|[\u2010-\u2015\u2212~])\s*+"
_RANGE = re.compile(
    rf"(?<![\w.:,+-])({_TIME})\s*+{_UNIT}{_JOIN}({_TIME})(?![0-9]|[.,:][0-9])"
    rf"(\s*+{_UNIT}{_JOIN}{_TIME})?+(?:\s*+(?:seconds?+|secs?+|s)\b)?+(?!\w)",
    re.IGNORECASE,
)


def _list_of(item: str, least: str) -> str:
    """Items divided by commas or blanks, in outer brackets or without."""
    items = rf"(?:{item}\s*+(?:,\s*+)?+)"
    return rf"[\[(]\s*+{items}{least}[\])]|{items}++"


_PAIR = rf"[\[(]\s*+{_TIME}\s*+{_UNIT}(?:,\s*+|{_JOIN}){_TIME}\s*+{_UNIT}[\])]"
_PAIRS = re.compile(_list_of(_PAIR, "*+"), re.IGNORECASE)
_FOUR = rf"[\[(]\s*+{_COORDINATE}\s*+(?:,\s*+{_COORDINATE}\s*+){{3}}[\])]"
_BOXES = re.compile(rf"[^\[(]*+({_list_of(_FOUR, '++')})[^\])]*+")
_BLANK_OUT = str.maketrans("[](),", "     ")
_TIMES = re.compile(_TIME)
_AROUND_WORDS = " \t\r\n,;:.()[]-|"
_MARK_BEHIND = re.compile(r"\s*+[^\w\s]")
_WORD_BEHIND = re.compile(r"[ \t]*+\w")
_WORD_BEFORE = re.compile(r"(?<!\bfrom)(?<!\bbetween)(?<=\w)[ \t]+$", re.IGNORECASE)
_LONE_LETTER = re.compile(r"[\W_]*+([A-G])[\W_]*+", re.IGNORECASE)
_LEADING_LETTER = re.compile(r"[\W_]*+([A-G])\s*+(?:[).:]|[-\u2010-\u2015]\s++(?!(?-i:[A-G])\b))", re.IGNORECASE)
_NAMED_LETTER = re.compile(r"(?:answer|option|choice)(?:\s++is\b)?+[\s:(*\"']++([A-G])(?!\w|\s++\w)", re.IGNORECASE)
WORD = re.compile(r"[^\W_]++")
_MARKED_LETTER = re.compile(r"(?<!\w)([A-G])(?=[).:])")


read_once = functools.lru_cache(maxsize=64)
"""Cache of a parser: the format reward and the value reward of a group parse the same answers."""


def tag_text(completion: str, tag: str) -> str | None:
    """Text of the last closed <tag>, stripped; None without one."""
    end = completion.rfind(f"</{tag}>")
    start = completion.rfind(f"<{tag}>", 0, end) if end >= 0 else -1
    return completion[start + len(tag) + 2 : end].strip() if start >= 0 else None


def answer_text(completion: str) -> str | None:
    """Text of the last closed <answer>, stripped; None without one."""
    return tag_text(completion, "answer")


@read_once
def parse_span(text: str) -> Span | None:
    """The last range of times in a text, as (start, end) seconds in the order written; None without one.

    Reads "1.5 to 3", "1.5s - 3.0 s", "from 1.5 TO 3 seconds", "1:02 to 1:10" (62 to 70). A chain like
    "1 to 2 to 3" is not a range.
    """
    span = None
    if len(text) <= LONGEST_ANSWER:
        for match in _RANGE.finditer(text):
            start, end = _clock_s(match[1]), _clock_s(match[2])
            span = None if match[3] or not math.isfinite(start + end) else (start, end)
    return span


@read_once
def parse_timed_texts(text: str) -> tuple[tuple[Span, str], ...] | None:
    """Events of a text, in the order written: each range of times with the text between it and the next one.

    Ranges as in `parse_span`: "0 - 2.5, a cut. 2.5 - 4 seconds: a fall" gives (0.0, 2.5) "a cut" and (2.5, 4.0)
    "a fall". Where the first range has a mark behind it, one between words is part of them: "0 - 2.5, cook for 10-12
    minutes" is one event. None where there is none, a chain like "1 to 2 to 3", or a time that is not finite.
    """
    found = _ranges(text)
    if found and _MARK_BEHIND.match(text, found[0].end()):
        found = [found[0], *(match for match in found[1:] if not _is_between_words(text, match))]
    ends = [match.start() for match in found[1:]] + [len(text)]
    words = [text[match.end() : end].strip(_AROUND_WORDS) for match, end in zip(found, ends, strict=False)]
    return tuple(zip(map(_span_of, found), words, strict=True)) or None


@read_once
def parse_ranges(text: str) -> tuple[Span, ...] | None:
    """Every range of times in a text, in the order written; None as for `parse_timed_texts`."""
    return tuple(map(_span_of, _ranges(text))) or None


def _ranges(text: str) -> list[re.Match[str]]:
    found = list(_RANGE.finditer(text)) if len(text) <= LONGEST_ANSWER else []
    usable = all(match[3] is None and all(map(math.isfinite, _span_of(match))) for match in found)
    return found if usable else []


def _span_of(match: re.Match[str]) -> Span:
    return (_clock_s(match[1]), _clock_s(match[2]))


def _is_between_words(text: str, match: re.Match[str]) -> bool:
    before = text[max(0, match.start() - 12) : match.start()]
    return _WORD_BEFORE.search(before) is not None and _WORD_BEHIND.match(text, match.end()) is not None


@read_once
def parse_spans(text: str) -> tuple[Span, ...] | None:
    """The spans of a list like "[(1.5, 3.0), (7, 9)]", as written; None where the text is no such list.

    Round or square brackets, the outer ones optional; times as in `parse_span`, divided by a comma, a dash or "to".
    "[]" is the empty list.
    """
    text = text.strip()
    if len(text) > LONGEST_ANSWER or _PAIRS.fullmatch(text) is None:
        return None
    times = [_clock_s(time) for time in _TIMES.findall(text)]
    return tuple(zip(times[::2], times[1::2], strict=True)) if all(map(math.isfinite, times)) else None


@read_once
def parse_boxes(text: str) -> tuple[Box, ...] | None:
    """The boxes of a list like "[[0.1, 0.2, 0.3, 0.4], ...]", as written; None where there is no such list.

    Text before the first and after the last bracket is ignored; round brackets and missing outer ones are allowed.
    """
    match = _BOXES.fullmatch(text) if len(text) <= LONGEST_ANSWER else None
    if match is None:
        return None
    try:
        numbers = list(map(float, match[1].translate(_BLANK_OUT).split()))
    except ValueError:
        return None
    # Fast path: a finite sum has finite parts.
    if not math.isfinite(sum(numbers)) and not all(map(math.isfinite, numbers)):
        return None
    number = iter(numbers)
    return tuple(zip(number, number, number, number, strict=True))


@read_once
def parse_choice(text: str) -> str | None:
    """The one option letter "A".."G" that a text names, as a capital; None where it names none or several.

    Reads "C", "(c)", "C. red", "C - red", "Answer: C", "the answer is (C)"; a bare letter inside a sentence is a word.
    """
    if len(text) > LONGEST_ANSWER:
        return None
    first = _LONE_LETTER.fullmatch(text) or _LEADING_LETTER.match(text)
    named = {first[1].upper()} if first else {letter.upper() for letter in _NAMED_LETTER.findall(text)}
    named |= set(_MARKED_LETTER.findall(text))
    return named.pop() if len(named) == 1 else None


def parse_words(text: str) -> tuple[str, ...]:
    """The words of a text in lower case: "High-Quality." is ("high", "quality"); () for a text that is too long."""
    return tuple(WORD.findall(text.casefold())) if len(text) <= LONGEST_ANSWER else ()


def _clock_s(time: str) -> float:
    """Seconds of "62.5", "1:02.5" or "0:01:02.5"."""
    if ":" not in time:
        return float(time)
    seconds = 0.0
    for part in time.split(":"):
        seconds = 60 * seconds + float(part)
    return seconds
