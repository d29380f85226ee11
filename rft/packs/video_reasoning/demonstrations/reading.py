"""Text -> the items of an answer. Any text is allowed, nothing raises, and time grows linearly with the text."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from rewards.parsing import LONGEST_ANSWER

_MARKS = str.maketrans("", "", "*`$")
_ORDINALS = re.compile(r"\b[0-9]{1,3}+(?:st|nd|rd|th)\b\s*+:?+|^[ \t]*+[0-9]{1,2}+[.)][ \t]++(?=\S)", re.M | re.I)
_CONTAINERS = re.compile(r"\b(?:pile|path|cup)s?+\s?+[0-9]{1,3}+\b/?+", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]++")
_CHOICE = re.compile(r"\b(?:or|either|maybe)\b", re.IGNORECASE)
_NOTHING = re.compile(r"\b(?:none|no|nothing|empty|zero|equal|same|0)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reader:
    """How the items of one kind of answer stand in a text."""

    pattern: re.Pattern[str]
    item: Callable[[re.Match[str]], str]
    """The item of a match, in the one form in which items are compared."""
    stray: re.Pattern[str] | None = None
    """What may not stand outside the items: an answer that says it twice has not decided."""


@dataclass(frozen=True, slots=True)
class Read:
    """The items that an answer states, in its order."""

    items: tuple[str, ...] = ()
    problem: str = ""
    """Why they cannot be judged; "": they can."""


def read_items(text: str, reader: Reader) -> Read:
    """The items of a text: words around them do not matter, further numbers and alternatives make it unreadable.

    One further number is allowed, the number of items. A text without items must say that there are none.
    """
    if len(text) > LONGEST_ANSWER:
        return Read(problem="the answer is too long")
    text = _ORDINALS.sub(" ", text.translate(_MARKS))
    items = tuple(map(reader.item, reader.pattern.finditer(text)))
    rest = _CONTAINERS.sub(" ", reader.pattern.sub(" | ", text))
    if not items:
        return Read(problem="" if _NOTHING.search(rest) else "states nothing of the kind that is asked for")
    if _CHOICE.search(rest):
        return Read(problem="names alternatives")
    stray = reader.stray.search(rest) if reader.stray else None
    if stray:
        return Read(problem=f"says '{stray[0]}' beside its items")
    numbers = [number.lstrip("0") or "0" for number in _NUMBER.findall(rest)]
    if len(numbers) > 1 or (numbers and numbers[0] != str(len(items))):
        return Read(problem=f"lists {len(items)} and says {numbers[0][:9]}")
    return Read(items)
