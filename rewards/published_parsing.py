"""Text -> values as the code released with VideoChat-R1 (arXiv:2504.06958) reads them, oddities included.

Written from scratch after the values that the code returns. Nothing raises, and time grows linearly with the text: no
pattern begins inside a number, and all use possessive quantifiers.
"""

import ast
import functools
import json
import re
import warnings
from itertools import pairwise

from rewards.parsing import LONGEST_ANSWER, read_once
from rewards.types import Span

LONGEST_LITERAL = 10_000
"""Most characters of a Python literal; a longer text is not parsed. Eight boxes in full precision take a fifth."""

# Digits of any script, as the released pattern and float() take them.
_NUMBER = r"\d++(?:\.\d*+)?+"
_RANGE = re.compile(rf"(?<!\d)({_NUMBER}) (?:to|and) ({_NUMBER})")
_RANGE_OF_ANY_CASE = re.compile(_RANGE.pattern, re.IGNORECASE)

# What both the released pattern and a Python literal allow: no leading zero of an integer, no sign, no ".5" or "5.".
_PLAIN = r"(?:[0-9]++\.[0-9]++|0++|[1-9][0-9]*+)"
_BLANKS = r"[ \t\n\r\f]*+"
_PAIR = rf"\({_PLAIN},{_BLANKS}{_PLAIN}\)"
_GLUE = re.compile(rf"\[(?:{_PAIR}(?:,{_BLANKS}{_PAIR})*+,?+)?+\]\n?+")
_PLAIN_NUMBERS = re.compile(_PLAIN)

# Texts of these characters mean the same in JSON, which is read ten times as fast, if they are JSON at all.
_NUMBERS_AND_BRACKETS = re.compile(r"[0-9eE.,+\-\[\] \t]*+")
_DEEPEST_JSON = 100

_LETTER = re.compile("[A-G]")


def first_block(completion: str, tag: str) -> str | None:
    """Text of the first closed <tag>, unstripped; None without one."""
    start = completion.find(f"<{tag}>")
    end = completion.find(f"</{tag}>", start) if start >= 0 else -1
    return completion[start + len(tag) + 2 : end] if end >= 0 else None


def last_block(completion: str, tag: str) -> str | None:
    """Text of the last block, searched from left to right, unstripped; None without one.

    A tag opened twice belongs to the first opening: "<answer>a<answer>b</answer>" holds "a<answer>b".
    """
    opening, closing = f"<{tag}>", f"</{tag}>"
    last_opening = completion.rfind(opening, 0, max(0, completion.rfind(closing)))
    if last_opening < 0:
        return None
    start = completion.find(opening, max(0, completion.rfind(closing, 0, last_opening)))
    return completion[start + len(opening) : completion.find(closing, start)]


def last_range(text: str, any_case: bool) -> Span | None:
    """The last "number to number" or "number and number", one blank at each side; None without one.

    Characters around the numbers are ignored: "1:02 to 1:10" is (2, 1), "-3 to 5" is (3, 5).
    """
    ranges = (_RANGE_OF_ANY_CASE if any_case else _RANGE).findall(text)
    return (float(ranges[-1][0]), float(ranges[-1][1])) if ranges else None


@read_once
def glue_pairs(glue: str) -> tuple[tuple[int | float, int | float], ...] | None:
    """The pairs of a list like "[(1.5, 3.0), (7, 9)]", also reversed ones; None if the text is not exactly such a list.

    Blanks only after commas, round brackets inside square ones, one line break may follow.
    """
    if len(glue) > LONGEST_ANSWER or _GLUE.fullmatch(glue) is None:
        return None
    try:
        numbers = [float(n) if "." in n else int(n) for n in _PLAIN_NUMBERS.findall(glue)]
    except ValueError:  # Python refuses integers of more than 4300 digits.
        return None
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def python_list(text: str) -> list[object] | None:
    """Value of a text that is a Python list literal, with any elements; None if it is none."""
    if len(text) > LONGEST_LITERAL or "[" not in text or text.lstrip()[:1].isalpha():
        return None
    is_json = text.count("[") <= _DEEPEST_JSON and _NUMBERS_AND_BRACKETS.fullmatch(text)
    for parse in (json.loads, ast.literal_eval) if is_json else (ast.literal_eval,):
        try:
            with warnings.catch_warnings(action="ignore"):
                value = parse(text)
        # The parser's own bounds on depth and on the digits of integers end in these errors too.
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            continue
        return value if isinstance(value, list) else None
    return None


def first_letter(text: str) -> str | None:
    """The first capital A to G, be it the beginning of a word; None without one.

    The released code first removes some phrases. Only one of them, two phrases joined by accident, contains such a
    letter.
    """
    match = _LETTER.search(text.replace("Best answer:Best option:", ""))
    return match[0] if match else None


def has_blocks(completion: str, tags: tuple[str, ...]) -> bool:
    """Whether the whole text, stripped, is these blocks in order with only blanks between; they may hold anything."""
    text = completion.strip()
    at, end = len(tags[0]) + 2, len(text) - len(tags[-1]) - 3
    if not text.startswith(f"<{tags[0]}>") or not text.endswith(f"</{tags[-1]}>"):
        return False
    for tag, next_tag in pairwise(tags):
        joint = _joint(tag, next_tag).search(text, at, end)
        if joint is None:
            return False
        at = joint.end()
    return True


@functools.cache
def _joint(tag: str, next_tag: str) -> re.Pattern[str]:
    return re.compile(rf"</{tag}>\s*+<{next_tag}>")
