"""Errors a user can act on, and problems in what a user wrote: where, what, and what to do."""

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

NAMED_PROBLEMS = 20
"""Most problems of rows that are written out; the others are counted."""


class RftError(Exception):
    """A user's mistake or a failed resource. The CLI prints the message alone and exits with 2."""


class RecipeError(RftError):
    """A recipe that cannot run as written."""


class DataError(RftError):
    """Rows, videos or models that cannot be used."""


class RolloutError(RftError):
    """Sampling failed beyond what a restart repairs."""


class ClusterError(RftError):
    """Ray cannot be started or joined, or has no room for a run."""


class LearnerError(RftError):
    """A learning process ended or hangs."""


class ParityError(RftError):
    """Sampler and learner see or compute different things."""


class RewardError(RftError):
    """A reward function raised, hung, or returned no number in [0, 1]."""


class CheckpointError(RftError):
    """A checkpoint, run folder or file of results that cannot be written or read."""


class Interrupted(Exception):
    """The user asked the run to stop while it was sampling."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to repair in a document."""

    key: str
    """Dotted key; empty where the document as a whole is meant."""
    message: str
    where: str = ""
    """"line 7" or "command line"; empty where unknown."""

    def __str__(self) -> str:
        place = f"{self.key} ({self.where})" if self.key and self.where else self.key or self.where
        return f"{place}: {self.message}" if place else self.message


def problem_text(place: str, problems: Sequence[object]) -> str:
    """The house form of a list of problems: how many, where, then one per line."""
    count = f"{len(problems)} problem" + ("" if len(problems) == 1 else "s")
    return "\n".join([f"{place}: {count}", *(f"  {problem}" for problem in problems)])


def shortened(text: str, length: int = 500) -> str:
    """`text` in at most `length` characters: text of users' files may be of any size."""
    return text if len(text) <= length else f"{text[: length - 3]}..."


def near_name(name: str, known: Collection[str], others: Sequence[str] = ()) -> str:
    """ " Did you mean 'x'?" for a close name, or the first of the others, else the names there are."""
    # Of two texts that differ more in length none is close, and comparing takes the product of their lengths.
    may_be_close = len(name) <= 3 * max(map(len, known), default=0)
    lowered = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), sorted(lowered), n=1, cutoff=0.6) if may_be_close else []
    close = [lowered[one] for one in near] or others
    if close:
        return f" Did you mean '{close[0]}'?"
    return f" Known: {', '.join(sorted(known))}." if known else ""


def listed(problems: Sequence[str], num_named: int) -> str:
    """The first `num_named`, one per line, and the number of the others."""
    rest = len(problems) - num_named
    return "\n".join([*problems[:num_named], *([f"... and {rest} more"] if rest > 0 else [])])


def refuse(problems: Sequence[str]) -> None:
    """Raises DataError with the first problems and the number of the others; nothing where there is none."""
    if problems:
        raise DataError(listed(problems, NAMED_PROBLEMS))
