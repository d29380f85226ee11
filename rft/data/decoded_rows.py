"""Rows with decoded clips, for evaluation and the supervised stage, which need all rows at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rft.data.dataset import Clips, bad_rows, read_rows, to_prompt
from rft.data.frames import ClipError
from rft.errors import DataError
from rft.recipe import Recipe
from rft.tasks import TASKS
from rft.tasks.types import Row
from rft.types import Demonstration, Prompt

Shard = tuple[int, int]
"""(i, n): every n-th row, from row i on."""
WHOLE: Shard = (0, 1)


@dataclass(frozen=True, slots=True)
class UsableRow:
    """A row whose clip or image could be decoded, and its prompt."""

    row: Row
    prompt: Prompt
    duration_s: float | None
    """Length of the decoded clip in seconds; None: the row has no clip."""

    def demonstration(self, recipe: Recipe) -> Demonstration:
        """Example for the supervised stage: the row's `demonstration`, or its target written as a completion."""
        think = recipe.tasks[self.row.task].think
        text = self.row.demonstration or TASKS[self.row.task].target_completion(self.prompt.target, think)
        return Demonstration(self.prompt, text)


def usable_rows(
    paths: Sequence[Path],
    recipe: Recipe,
    clips: Clips,
    task: str | None = None,
    shard: Shard = WHOLE,
    *,
    on_total: Callable[[int], None] = lambda total: None,
    on_row: Callable[[], None] = lambda: None,
    on_bad: Callable[[str], None] = lambda problem: None,
) -> tuple[UsableRow, ...]:
    """The rows of `paths`, or those of one task, or a shard of these, with their clips decoded.

    A row whose clip or image is missing or damaged is reported to `on_bad` and left out. Raises DataError if rows are
    invalid, or if more are left out than data.max_bad_share allows.
    """
    rows = read_rows(paths, recipe.data.video_root, recipe.tasks) if paths else ()
    rows = tuple(row for row in rows if task in (None, row.task))[shard[0] :: shard[1]]
    on_total(len(rows))
    usable, bad = [], []
    for row in rows:
        prompt = to_prompt(row, recipe)
        try:
            frames = clips.load(prompt.media)
            usable.append(UsableRow(row, prompt, frames.duration_s if frames and row.video else None))
        except ClipError as error:
            bad.append(f"{row.id}: {error}")
            on_bad(f"row {row.id} left out: {error}")
        on_row()
    text, are_too_many = bad_rows(bad, len(rows), recipe.data.max_bad_share)
    if are_too_many:
        raise DataError(f"{', '.join(map(str, paths))}: {text}")
    return tuple(usable)
