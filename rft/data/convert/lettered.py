"""Questions whose options begin with their letters, and whose answer is a letter in tags."""

import re
from collections.abc import Callable, Sequence
from string import ascii_uppercase
from typing import Any, Protocol, TypeVar

from rft.data.convert.source import Anomaly, Draft, Published, value_counts

CHOICE = "multiple choice"
"""Of the kinds of problem in one file, the one that becomes rows."""

_ANSWER = re.compile(r"(?:<answer>)?\s*\(?([A-Za-z])[).]?\s*(?:</answer>)?")
_LETTER = re.compile(r"^\(?([A-Z])[).:]\s*")
_BEFORE_OPTION = re.compile(r"\n\s*\(?(?=[A-Z][).:]\s)")
_TAG = re.compile(r"</?answer>")


class Problem(Protocol):
    """One of several kinds."""

    @property
    def data_type(self) -> str: ...

    @property
    def problem_type(self) -> str: ...


P = TypeVar("P", bound=Problem)


def letter_of(answer: str) -> str | None:
    """ "B" of "<answer>B</answer>", "(b)" or "B."; None: the text is anything else."""
    letter = _ANSWER.fullmatch(answer.strip())
    return letter.group(1).upper() if letter else None


def without_letters(options: Sequence[str]) -> list[str]:
    """ "A. a cup" -> "a cup": our question writes the letters itself."""
    return [_LETTER.sub("", option.strip()) for option in options]


def lettered_question(problem: str, answer: str) -> dict[str, Any] | None:
    """A row's question, options and target, of a text that its options end; None: it has none, or no letter answers."""
    (question, options), letter = split_options(problem), letter_of(answer)
    return {"question": question, "options": options, "target": {"choice": letter}} if letter and options else None


def split_options(problem: str) -> tuple[str, list[str]]:
    """("Why?", ["a cup", "a hat"]) of "Why?\\nA. a cup\\nB. a hat"; the text and [] where no such lines end it."""
    question, *options = _BEFORE_OPTION.split(problem.strip())
    if "".join(option[0] for option in options) != ascii_uppercase[: len(options)] or len(options) < 2:
        return problem.strip(), []
    return question.strip(), without_letters(options)


def without_tags(answer: str) -> str:
    """ "He falls." of "<answer>He falls.</answer>"; a text without tags as it is."""
    return _TAG.sub("", answer).strip()


def of_choice(dataset: str, problems: Sequence[P], draft: Callable[[int, P], Draft | str]) -> Published:
    """The problems of multiple choice; the others are counted and left out. `draft`: of one, or why it has none."""
    chosen = [(number, problem) for number, problem in enumerate(problems) if problem.problem_type == CHOICE]
    drafts = [(number, draft(number, problem)) for number, problem in chosen]
    unread = [Anomaly("no_annotation", f"{dataset}/{number}", why) for number, why in drafts if isinstance(why, str)]
    named = value_counts(f"{problem.data_type} {problem.problem_type}" for problem in problems)
    left_out = f"{len(problems) - len(chosen):,}"
    facts = (("problems by kind", named), ("left out: no multiple choice", left_out))
    return Published(tuple(one for _, one in drafts if isinstance(one, Draft)), facts, anomalies=tuple(unread))
