"""Evaluation without a model: of stored completions, or of baselines alone."""

import json
from collections.abc import Sequence
from pathlib import Path

from rft.data.dataset import read_rows
from rft.errors import DataError
from rft.evaluation.baselines import Baselines, measure_baselines
from rft.evaluation.comparison import figures, result_tables
from rft.evaluation.evaluate import EvalResult, also_measured
from rft.evaluation.predictions import read_predictions
from rft.tables import plain
from rft.tasks import TASKS
from rft.tasks.types import Row
from rft.types import Prompt

ALL = "all"
"""Name on the command line that stands for every baseline."""
SHOWN_IDS = 5


def evaluate_predictions(
    paths: Sequence[Path], task: str | None, data: Sequence[Path], as_json: bool, also: str | None = None
) -> str:
    """The figures of stored completions, as tables or JSON; `data`: their rows, where they are at hand.

    `also`: a name in `more_metrics` of a task. Raises DataError with every problem.
    """
    result, missing = read_predictions(paths, task, read_rows(data, None, TASKS) if data else None)
    if also:
        result = also_measured(result, also)
    once = {sample.prompt_id: sample for sample in result.samples}
    baselines = measure_baselines(list(once.values()), {}, result.seed)
    if as_json:
        counted = {"missing": {"rows": len(missing), "ids": list(missing[:SHOWN_IDS])}} if data else {}
        return json.dumps(figures(result, baselines) | counted)
    named = f" ({', '.join(missing[:SHOWN_IDS])}{', ...' if len(missing) > SHOWN_IDS else ''})" if missing else ""
    note = [f"{len(missing)} rows of --data have no prediction and are in no mean{named}."] if missing else []
    return "\n\n".join([_tables_text(result, baselines), *note])


def evaluate_baseline(name: str, task: str | None, data: Sequence[Path], as_json: bool) -> str:
    """Metrics of one baseline, or of all, on the rows, as tables or JSON.

    Raises DataError where the rows are wrong, or none can be answered that way.
    """
    rows = [row for row in read_rows(data, None, TASKS) if task in (None, row.task)]
    if not rows:
        raise DataError(f"{', '.join(map(str, data))}: no rows of task {task}.")
    prompts = [
        Prompt(row.id, row.task, "", None, TASKS[row.task].target(row), row.dataset, {"video": row.media_path})
        for row in rows
    ]
    baselines = measure_baselines(prompts, {}, seed=0)
    chosen = baselines if name == ALL else baselines.only(name)
    if not any(chosen.estimates.values()):
        raise DataError(_unfit_baseline(name, baselines, rows))
    return json.dumps(figures(None, chosen)) if as_json else _tables_text(None, chosen)


def _unfit_baseline(name: str, baselines: Baselines, rows: Sequence[Row]) -> str:
    has = [f"  {of}: {', '.join(by_baseline) or 'none'}" for of, by_baseline in baselines.estimates.items()]
    unknown = sum(row.clip_s is None for row in rows)
    hint = f"\n{unknown} of {len(rows)} rows have no duration_s: parts of a clip need it." if unknown else ""
    return "\n".join([f"--baseline: {name!r} fits none of these rows. Baselines by set of rows:", *has]) + hint


def _tables_text(result: EvalResult | None, baselines: Baselines) -> str:
    return "\n\n".join(plain(table) for table in result_tables(result, baselines))
