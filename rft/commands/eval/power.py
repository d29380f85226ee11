"""`rft eval --power`: how many rows a difference needs, by the spread of stored answers."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rft.data.dataset import read_rows
from rft.errors import DataError
from rft.evaluation.evaluate import MODES, EvalResult
from rft.evaluation.power import POWER, Need, paired_need, unpaired_need
from rft.evaluation.predictions import read_predictions
from rft.runs.run_dir import RunDir
from rft.tables import TextTable, plain
from rft.tasks import TASKS

EVALUATIONS = ("cold_start", "base", "final")
"""Names of a run's first evaluation, which is one of two, and of its last."""


def power(sources: Sequence[Path], task: str | None, data: Sequence[Path], points: float, as_json: bool) -> str:
    """What a difference of `points` hundredths needs, as a table or JSON.

    `sources`: the answers of one policy, or of two to the same rows, which tell what paired rows need; a run folder
    stands for its first and its last evaluation. `data`: rows of the answers, where they are at hand. Raises DataError
    where the answers cannot be read or are to different rows.
    """
    files = [file for source in sources for file in _evaluations(source)]
    if len(files) > 2:
        raise DataError(f"--power: {len(files)} evaluations. Give one, or two of the same rows.")
    rows = read_rows(data, None, TASKS) if data else None
    results = [read_predictions([file], task, rows)[0] for file in files]
    needs = list(_needs(results, points / 100))
    if as_json:
        return json.dumps([{**about, **(asdict(found) if found else {})} for about, found in needs])
    lines = [(*map(str, about.values()), *_cells(found)) for about, found in needs]
    columns = ("set", "metric", "mode", "rows", "videos", "compared", f"videos for {points:g}", "rows", "found here")
    caption = (
        f"Needed to find a difference of {points:g} points in {POWER:.0%} of cases (95 % interval, two sides). Paired: "
        "both policies answer the same rows. Unpaired: each answers so many of its own. Found here: the smallest "
        "difference, in points, that the measured rows find as often."
    )
    if len(results) == 1:
        caption += " Paired rows need fewer: give the answers of two policies to tell how many."
    return plain(TextTable(f"Rows for a difference of {points:g} points", columns, tuple(lines), caption))


def _needs(results: Sequence[EvalResult], difference: float) -> Iterator[tuple[dict[str, Any], Need | None]]:
    """(what is compared, what it needs) by set, mode and way of comparing."""
    last = results[-1]
    for name, rows in last.sets.items():
        for mode in (mode for mode in MODES if last.of(name, mode)):
            about: dict[str, Any] = {"set": name, "metric": TASKS[rows.task].main_metric, "mode": mode}
            about |= {"rows": rows.num_rows, "units": rows.num_units}
            if len(results) == 2 and name in results[0].sets:
                try:
                    paired = paired_need(results[0], last, name, mode, difference)
                except ValueError as error:
                    raise DataError(f"--power: {error}") from error
                yield about | {"compared": "paired"}, paired
            yield about | {"compared": "unpaired"}, unpaired_need(last, name, mode, difference)


def _cells(found: Need | None) -> tuple[str, ...]:
    if found is None:
        return ("-",) * 3
    return f"{found.num_units:,}", f"{found.num_rows:,}", f"{100 * found.detectable:.1f}"


def _evaluations(source: Path) -> list[Path]:
    """The file itself, or the first and last evaluation of a run."""
    if not source.is_dir():
        return [source]
    run = RunDir(source)
    files = [file for name in EVALUATIONS if (file := run.eval_file(name)).exists()]
    if not files:
        raise DataError(f"{source}: holds no evaluation. Give the folder of a run that has ended, or stored answers.")
    return files
