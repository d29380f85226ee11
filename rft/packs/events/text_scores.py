"""Likeness of captions by a library that is an extra to install."""

from functools import cache, lru_cache
from typing import Any

from rft.errors import RewardError
from rft.packs.events.matching import Likeness
from rft.packs.events.reading import MOST_EVENTS


@cache
def chrf() -> Likeness:
    """chrF of an answered against a true caption, in [0, 1], upper and lower case alike.

    F2 of the n-grams of 1 to 6 characters, blanks left out (Popovic, 2015), by sacrebleu. Raises RewardError where
    that is not installed.
    """
    try:
        from sacrebleu.metrics import CHRF
    except ImportError as error:
        raise RewardError("sacrebleu is not installed. Install rft with its extra `text-scores`.") from error

    @lru_cache(maxsize=MOST_EVENTS)
    def held_against(true: str) -> Any:
        # Each true caption is held against many: sacrebleu takes its n-grams once where it is told before.
        return CHRF(references=[[true.casefold()]])

    def likeness(answered: str, true: str) -> float:
        return min(1.0, float(held_against(true).corpus_score([answered.casefold()], None).score) / 100)

    return likeness
