"""Rows chosen by how a policy answered them: neither too easy nor too hard to learn from.

Sources: Temporal-R1, arXiv:2506.01908, and LongVILA-R1, arXiv:2507.07966 (rows with mixed outcomes); Time-R1,
arXiv:2503.13377 (rows drawn with a Gaussian around a mean IoU).
"""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from rft.data.dataset import read_rows
from rft.data.row_files import read_row_file
from rft.errors import refuse
from rft.evaluation.predictions import stored_completion
from rft.evaluation.views import split_view
from rft.files import GIVE_ANOTHER, read_jsonl, write_text
from rft.runs.rollout_files import completion_files
from rft.runs.run_dir import RunDir
from rft.tables import TextTable
from rft.tasks import TASKS
from rft.tasks.types import Row


@dataclass(frozen=True, slots=True)
class SelectOptions:
    """Which rows to keep."""

    least_difference: float = 0.0
    """Least difference between a row's best and worst answer, in its task's main metric."""
    number: int | None = None
    """Number of rows to keep, drawn from those that are left; None: all of them."""
    around: float | None = None
    """Mean value of a row's answers that is likeliest to be drawn; None: all are as likely."""
    width: float = 0.2
    """Standard deviation of the Gaussian around it."""
    seed: int = 0
    most_blind: float | None = None
    """Rows whose answers about a blank clip reach a higher mean are dropped; None: none are."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows with what they were chosen by."""

    rows: tuple[Row, ...]
    values: Mapping[str, tuple[float, ...]]
    """Row id -> value of each answer in the task's main metric."""
    kept: frozenset[str]
    """Ids of the kept rows."""
    num_failed: int
    """Completions that the engine did not finish: they say nothing about the row."""
    num_other: int
    """Completions of rows that are not among these."""
    blind: Mapping[str, float] = field(default_factory=dict)
    """Row id -> mean value of its answers about a blank clip, of `rft eval eval.views=[blank]`."""
    most_blind: float | None = None

    def table(self) -> TextTable:
        lines = []
        for task in dict.fromkeys(row.task for row in self.rows):
            rows = [row for row in self.rows if row.task == task]
            answered = [self.values[row.id] for row in rows if row.id in self.values]
            kept = [self.values[row.id] for row in rows if row.id in self.kept]
            alike = sum(max(values) == min(values) for values in answered)
            counts = (len(rows), len(rows) - len(answered), alike, len(kept))
            means = [f"{fmean(map(fmean, of)):.3f}" if of else "-" for of in (answered, kept)]
            lines.append((f"{task} ({TASKS[task].main_metric})", *(f"{count:,}" for count in counts), *means))
        columns = ("task (metric)", "rows", "no answer", "all answers alike", "kept", "mean", "mean of kept")
        caption = f"{self.num_failed:,} failed completions and {self.num_other:,} of other rows left out."
        return TextTable("Rows by their answers", columns, tuple(lines), f"{self._blind_share()}{caption}")

    def _blind_share(self) -> str:
        """A sentence on the rows that are answered about a blank clip; "" where none was asked."""
        if self.most_blind is None:
            return ""
        tasks = {row.id: row.task for row in self.rows}
        asked = Counter(tasks[row] for row in self.blind)
        found = Counter(tasks[row] for row, value in self.blind.items() if value > self.most_blind)
        shares = [f"{task} {found[task]:,} of {asked[task]:,} ({found[task] / asked[task]:.0%})" for task in asked]
        return f"Answered without the picture, and dropped: {', '.join(shares) or 'no row was asked so'}. "


def select(rows_file: Path, answers: Sequence[Path], options: SelectOptions) -> Selection:
    """The choice among the rows of a file. `answers`: run folders, and files of completions such as `rft eval -o`'s.

    A row without answers is not kept. DataError: every line that cannot be read.
    """
    for source in answers:
        RunDir(source).load_tasks()
    rows = read_rows([rows_file], None, TASKS)
    by_id = {row.id: row for row in rows}
    values: dict[str, list[float]] = defaultdict(list)
    blind: dict[str, list[float]] = defaultdict(list)
    counts: Counter[str] = Counter()
    problems: list[str] = []
    for source in answers:
        for line in (line for file in completion_files(source) for line in read_jsonl(file, problems)):
            stored = stored_completion(line, problems)
            if stored is None:
                continue
            name, view = split_view(str(stored.prompt_id if stored.id is None else stored.id))
            row = by_id.get(name)
            if row is None or view not in (None, "blank"):
                counts["other"] += 1
            elif stored.finish_reason == "error":
                counts["failed"] += 1
            else:
                task = TASKS[row.task]
                of_row = blind if view else values
                of_row[row.id].append(task.measure(stored.completion, task.target(row))[task.main_metric])
    if not values and not problems:
        problems.append(f"{', '.join(map(str, answers))}: no answer to a row of {rows_file}")
    refuse(problems)
    means = {row_id: fmean(of_row) for row_id, of_row in blind.items()}
    most = options.most_blind
    by_row = {row_id: tuple(of_row) for row_id, of_row in values.items()}
    able = {row_id: of_row for row_id, of_row in by_row.items() if most is None or means.get(row_id, 0.0) <= most}
    kept = frozenset(chosen(able, options))
    return Selection(rows, by_row, kept, counts["failed"], counts["other"], means, most)


def chosen(values: Mapping[str, Sequence[float]], options: SelectOptions) -> list[str]:
    """Ids of the rows to keep, out of the values of their answers; the same whatever order they come in."""
    varied = [
        row_id
        for row_id, of_row in values.items()
        # Rounded, because 0.3 - 0.2 is below 0.1.
        if round(max(of_row) - min(of_row), 9) >= options.least_difference
    ]
    if options.number is None:
        return varied
    return sorted(varied, key=lambda row_id: _place(row_id, fmean(values[row_id]), options))[: options.number]


def _place(row_id: str, mean: float, options: SelectOptions) -> float:
    """Smallest first, these are draws without replacement, each row as likely as its weight says.

    Source: Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006.
    """
    distance = 0.0 if options.around is None else (mean - options.around) / options.width
    uniform = 1.0 - random.Random(f"{options.seed} {row_id}").random()
    return math.log(-math.log(uniform) or 1e-300) + distance**2 / 2


def write_selection(selection: Selection, rows_file: Path, output: Path) -> None:
    """The lines of the kept rows as they stand in their file, in its order."""
    lines = zip(selection.rows, read_row_file(rows_file, []), strict=True)
    write_text(output, "".join(f"{line.text}\n" for row, line in lines if row.id in selection.kept), GIVE_ANOTHER)
