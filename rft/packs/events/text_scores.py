"""Likeness of captions by a library that is an extra to install."""

from functools import cache

from rft.errors import RewardError
from rft.packs.events.matching import Likeness


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
    measure = CHRF()

    def likeness(answered: str, true: str) -> float:
        return min(1.0, float(measure.sentence_score(answered.casefold(), [true.casefold()]).score) / 100)

    return likeness
