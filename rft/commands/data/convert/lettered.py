"""Questions whose options begin with their letters, and whose answer is a letter in tags."""

import re
from collections.abc import Sequence

_ANSWER = re.compile(r"(?:<answer>)?\s*\(?([A-Za-z])[).]?\s*(?:</answer>)?")
_LETTER = re.compile(r"^\(?([A-Z])[).:]\s*")


def letter_of(answer: str) -> str | None:
    """ "B" of "<answer>B</answer>", "(b)" or "B."; None: the text is anything else."""
    letter = _ANSWER.fullmatch(answer.strip())
    return letter.group(1).upper() if letter else None


def without_letters(options: Sequence[str]) -> list[str]:
    """ "A. a cup" -> "a cup": our question writes the letters itself."""
    return [_LETTER.sub("", option.strip()) for option in options]
