"""Requests of lmms-eval and the rows that they are about: lmms-eval hands over its own prompt and document, and no id.

A row fits where its video or image has a file name that the document names, and its words stand in the prompt.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rft.data.dataset import UsableRow, recipe_rows, to_prompt
from rft.errors import refuse
from rft.recipe import Recipe
from rft.tasks.types import Row

ASKED = ("query", "question", "object")
"""Keys of rows, one of which holds what is asked."""


@dataclass(frozen=True, slots=True)
class Request:
    """A question of lmms-eval."""

    name: str
    """Its task and the number of its document, such as "temporal_grounding_charades:17"."""
    text: str
    """lmms-eval's prompt."""
    document: Mapping[str, Any]
    """Columns of its data set: {"video": "AO8RW.mp4", "caption": "a person opens the door", ...}."""


def rows_asked(requests: Sequence[Request], recipe: Recipe) -> list[UsableRow]:
    """The row of each request, out of `recipe.data.eval`, and the prompt that `rft eval` makes of it.

    Clips are not decoded yet. DataError: with every request that has no row, or several that ask otherwise.
    """
    rows = recipe_rows(recipe.data.eval, recipe)
    return [UsableRow(row, to_prompt(row, recipe)) for row in match(requests, rows)]


def match(requests: Sequence[Request], rows: Sequence[Row]) -> list[Row]:
    """The row of each request; DataError as above."""
    by_stem: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        for part in row.parts:
            by_stem[Path(part.path).stem].append(row)
    found, problems = [], []
    for request in requests:
        prompt = _plain(request.text)
        stems = dict.fromkeys(Path(text).stem for text in _texts(request.document))
        near = [row for stem in stems for row in by_stem.get(stem, ()) if _plain(_asked(row)) in prompt]
        # A shorter query may be a part of a longer one, and one question may have other options.
        best = max((_words_in(prompt, row) for row in near), default=0)
        fitting = [row for row in near if _words_in(prompt, row) == best]
        asked = list({_question(row): row for row in fitting}.values())
        if len(asked) == 1:
            found.append(asked[0])
        elif asked:
            problems.append(f"{request.name}: rows {asked[0].id} and {asked[1].id} fit alike; leave one out.")
        else:
            problems.append(f"{request.name}: no row of its video or image asks this. Convert the same split to rows.")
    refuse(problems)
    return found


def _texts(value: object) -> Iterator[str]:
    """The texts and numbers in a document."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, str | int):
        yield str(value)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .?!")


def _asked(row: Row) -> str:
    """What the row asks; "" where its task needs no words."""
    return next((str(value) for key in ASKED if (value := getattr(row, key, None))), "")


def _options(row: Row) -> tuple[str, ...]:
    return tuple(getattr(row, "options", ()))


def _words_in(prompt: str, row: Row) -> int:
    """Characters of the row's question and options that stand in the prompt."""
    return sum(len(text) for part in (_asked(row), *_options(row)) if (text := _plain(part)) in prompt)


def _question(row: Row) -> str:
    """All that decides the row's prompt."""
    return row.model_dump_json(exclude={"id", "target", "dataset", "demonstration", "duration_s"})
