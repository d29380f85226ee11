"""Counterfactual pairs: the same question about two clips, with two right answers.

No word of the question tells the two apart, so a policy that does not look is right about one of them at most.
"""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rewards.types import Target
from rft.data.dataset import read_rows
from rft.data.row_files import read_row_file
from rft.files import GIVE_ANOTHER, write_text
from rft.tables import TextTable
from rft.tasks import TASKS
from rft.tasks.types import Part, Row
from rft.types import MEDIA_MARK

By = Literal["mirrored", "reversed", "swapped"]
"""How the second clip is made: the first one seen otherwise, or another row's."""

MOST_ALIKE = 0.5
"""Two answers make a pair if one earns at most this for the other's question, in the task's main metric."""


@dataclass(frozen=True, slots=True)
class Half:
    """A row with its fields as written, whose paths start where they did, and its target."""

    row: Row
    fields: Mapping[str, Any]
    target: Target

    @property
    def part(self) -> dict[str, Any]:
        """What it shows, as one of several media."""
        return {name: self.fields[name] for name in Part.model_fields if name in self.fields}


@dataclass(frozen=True, slots=True)
class Pairs:
    """The pairs that were found among some rows."""

    rows: tuple[Row, ...]
    found: tuple[tuple[Half, Half], ...]

    def table(self) -> TextTable:
        """Per task, how many rows are in pairs and how many cannot be."""
        paired = {half.row.id for pair in self.found for half in pair}
        lines = []
        for task in dict.fromkeys(row.task for row in self.rows):
            rows = [row for row in self.rows if row.task == task]
            clips = [row for row in rows if row.video]
            num_paired = sum(row.id in paired for row in clips)
            counts = (len(rows), num_paired, len(clips) - num_paired, len(rows) - len(clips))
            lines.append((task, *(f"{count:,}" for count in counts)))
        columns = ("task", "rows", "in pairs", "no clip with another answer", "not about one clip")
        return TextTable("Counterfactual pairs", columns, tuple(lines), f"{len(self.found):,} pairs.")

    def as_rows(self) -> list[dict[str, Any]]:
        """Both rows of each pair, one after the other."""
        return [dict(half.fields) for pair in self.found for half in pair]

    def as_questions(self, seed: int) -> tuple[list[dict[str, Any]], Counter[str]]:
        """One row per pair, which shows both clips and asks of which an answer is right; pairs left out, by task.

        `seed` draws their order, and whose answer it is: neither clip nor answer alone tells the letter.
        """
        rows, left_out = [], Counter[str]()
        for pair in self.found:
            rng = random.Random(f"{seed} {pair[1].row.id}")
            shown, right = rng.sample(pair, 2), rng.randrange(2)
            claim = TASKS[pair[0].row.task].claim(pair[0].row, shown[right].target)
            if claim is None:
                left_out[pair[0].row.task] += 1
                continue
            row = {
                "id": f"{pair[0].row.id} or {pair[1].row.id}",
                "task": "multiple_choice",
                "media": [half.part for half in shown],
                "question": f"The first clip: {MEDIA_MARK} The second clip: {MEDIA_MARK} In which of the two "
                f"{claim.replace(MEDIA_MARK, '')}?",
                "options": ["the first", "the second"],
                "target": {"choice": "AB"[right]},
            }
            rows.append(row | ({"dataset": pair[0].row.dataset} if pair[0].row.dataset else {}))
        return rows, left_out


def find_pairs(rows_file: Path, by: By, seed: int) -> Pairs:
    """The pairs among the rows about one clip each. `seed`: which rows of one question meet. DataError: bad lines."""
    rows = read_rows([rows_file], None, TASKS)
    lines = zip(rows, read_row_file(rows_file, []), strict=True)
    halves = [Half(row, line.value, TASKS[row.task].target(row)) for row, line in lines if row.video]
    return Pairs(rows, tuple(_swapped(halves, seed) if by == "swapped" else _seen_otherwise(halves, by)))


def _seen_otherwise(halves: Sequence[Half], view: Literal["mirrored", "reversed"]) -> Iterator[tuple[Half, Half]]:
    for half in halves:
        row, task = half.row, TASKS[half.row.task]
        target = None
        if row.view is None:
            target = task.target_in_view(half.target, row.model_dump(mode="json", exclude_none=True), view)
        if target is None or _are_alike(row.task, half.target, target):
            continue
        changed = {"id": f"{row.id}/{view}", "view": view, "target": target.to_json()}
        # A demonstration says the answer as filmed.
        fields = {name: value for name, value in half.fields.items() if name != "demonstration"} | changed
        yield half, Half(row.model_copy(update=changed), fields, target)


def _swapped(halves: Sequence[Half], seed: int) -> Iterator[tuple[Half, Half]]:
    """Rows of one question and two answers; each row is in one pair at most."""
    by_question: dict[tuple[str, str], list[Half]] = defaultdict(list)
    for half in halves:
        by_question[half.row.task, TASKS[half.row.task].prompt_text(half.row, False)].append(half)
    rng = random.Random(seed)
    for (task, _), asked in by_question.items():
        left = rng.sample(asked, len(asked))
        while left:
            one = left.pop()
            for place, other in enumerate(left):
                if one.part != other.part and not _are_alike(task, one.target, other.target):
                    yield one, left.pop(place)
                    break


def _are_alike(task: str, first: Target, second: Target) -> bool:
    metrics = TASKS[task].measure(TASKS[task].target_completion(second, think=False), first)
    return metrics[TASKS[task].main_metric] > MOST_ALIKE


def write_pairs(rows: Sequence[Mapping[str, Any]], output: Path) -> None:
    write_text(output, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), GIVE_ANOTHER)
