"""Several runs side by side: where their recipes differ, and what they answered to the same prompts."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import yaml

from rft.commands.report.groups import answer_form
from rft.evaluation.evaluate import EvalResult, Sample
from rft.evaluation.predictions import read_result
from rft.runs.run_dir import RunDir, leaves, step_of
from rft.tasks import TASKS

MAX_ANSWERS = 60
"""Prompts whose answers are compared, those of the largest differences first."""


def recipe_diff(runs: Sequence[RunDir]) -> list[list[str]]:
    """[key, value in each run] of every key that is not the same in all of them; "-": the run's recipe lacks it."""
    recipes = [
        dict(leaves(yaml.safe_load(run.recipe.read_text("utf-8")))) if run.recipe.exists() else {} for run in runs
    ]
    keys = sorted({key for recipe in recipes for key in recipe})
    rows = [[key, *(str(recipe.get(key, "-")) for recipe in recipes)] for key in keys]
    return [row for row in rows if len(set(row[1:])) > 1]


def latest_result(run: RunDir) -> EvalResult | None:
    """The final evaluation, or the newest there is."""
    files = sorted(run.evals.glob("*.jsonl.zst"), key=lambda path: (path == run.eval_file("final"), step_of(path)))
    return read_result(files[-1]) if files else None


def same_answers(runs: Sequence[RunDir]) -> tuple[list[dict[str, Any]], int]:
    """Greedy answers of all runs to the prompts that each was measured on, and the number of these prompts.

    ([], 0): an id names another row in another run, or a run has no evaluation.
    [{"id", "task", "written", "spans", "duration_s", "answers": [{"completion", "value", "spans"} per run]}]; values of
    the task's main metric. The MAX_ANSWERS prompts on which the values differ most, of all tasks in turn.
    """
    results = [latest_result(run) for run in runs]
    if not all(results):
        return [], 0
    by_run = [{(s.task, s.prompt_id): s for s in result.samples if s.mode == "greedy"} for result in results if result]
    shared = set.intersection(*map(set, by_run))
    pairs = [[samples[key] for samples in by_run] for key in sorted(shared)]
    if any(len({sample.target.written() for sample in samples}) > 1 for samples in pairs):
        return [], 0  # the same ids name other rows
    pairs.sort(key=lambda samples: min(map(value_of, samples)) - max(map(value_of, samples)))
    by_task: dict[str, list[list[Sample]]] = defaultdict(list)
    for samples in pairs:
        by_task[samples[0].task].append(samples)
    in_turn = [samples for turn in zip_longest(*by_task.values()) for samples in turn if samples]
    return [_row(samples) for samples in in_turn[:MAX_ANSWERS]], len(pairs)


def value_of(sample: Sample) -> float:
    """The task's main metric of an answer, by the lenient parser."""
    return sample.parsed["lenient"].values[TASKS[sample.task].main_metric]


def _row(samples: Sequence[Sample]) -> dict[str, Any]:
    first = samples[0]
    answers = [
        {"completion": s.completion, "value": value_of(s), "spans": answer_form(s.completion, s.target)["spans"]}
        for s in samples
    ]
    return {
        "id": first.prompt_id,
        "task": first.task,
        "written": first.target.written(),
        "spans": list(first.target.time_spans().values()),
        "duration_s": first.target.duration_s,
        "answers": answers,
    }
