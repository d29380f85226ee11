"""What is wrong with a completion as such, told by the rewards that read it."""

from collections.abc import Mapping
from typing import get_args

from rewards.types import Fault, Score

FAULTS: tuple[Fault, ...] = get_args(Fault)


def fault_of(scores: Mapping[str, Score]) -> Fault | None:
    """The fault that the first reward found, in the order of the recipe; None where all could judge the answer."""
    for score in scores.values():
        if score.fault is not None:
            return score.fault
    return None
