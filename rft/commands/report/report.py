"""A run folder as one static page: recipe, curves, evaluation, and rollouts with what was said about each."""

import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

from rft.commands.report.drawings import rendered, svg_chart, svg_timeline
from rft.errors import CheckpointError
from rft.evaluation.comparison import cell
from rft.evaluation.evaluate import MODES, RowSet
from rft.evaluation.intervals import Estimate
from rft.evaluation.published_results import published_results
from rft.files import write_text, writing
from rft.runs.learning_curves import learning_curves
from rft.runs.metrics import read_metrics
from rft.runs.rollout_files import read_rollouts
from rft.runs.run_dir import RunDir
from rft.runs.timeline import read_timeline

NUM_FILES = 16
"""Number of steps whose rollouts are read, evenly from the first to the last."""

NUM_SHOWN = 6
"""Rollouts of each kind (best, worst, random) shown per task."""


def report(run_dir: RunDir | Path) -> Path:
    """Write report.html into the run folder and return its path; parts that the run has not written yet are left out.

    Raises CheckpointError where the folder holds no run.
    """
    run = run_dir if isinstance(run_dir, RunDir) else RunDir(run_dir)
    if not any(path.exists() for path in (run.recipe, run.metrics, run.summary, run.rollouts)):
        raise CheckpointError(f"{run.path}: no run here. Give the folder that `rft train` named at its end.")
    summary = run.read_summary()
    page = rendered(
        "page.html",
        name=run.path.resolve().name,
        verdict=summary.get("verdict", {}).get("text", ""),
        learning=[svg_chart(chart.title, chart.lines) for chart in learning_curves(run)],
        evaluation=evaluation(summary),
        curves=curves(run),
        rollouts=rollouts(run),
        timeline=svg_timeline(read_timeline(run.timeline)),
        seconds=[(phase, f"{seconds:.1f}") for phase, seconds in summary.get("seconds", {}).items()],
        files={path.stem.title(): path.read_text("utf-8") for path in (run.recipe, run.versions) if path.exists()},
        json=json.dumps,
    )
    with writing(run.report):
        write_text(run.report, page)
    return run.report


def evaluation(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Per set of rows {"name", "num_rows", "metrics", "rows": lines of cells, "changes": lines of cells}.

    Baselines come first, then each evaluation with its intervals, then published figures where they can be compared.
    """
    evals: dict[str, Any] = summary.get("eval", {})
    baselines: dict[str, Any] = summary.get("baselines", {})
    tables = []
    for task in sorted({task for result in evals.values() for task in result} | set(baselines)):
        lines: list[tuple[str, dict[str, Any]]] = [
            (f"baseline: {name}", metrics) for name, metrics in baselines.get(task, {}).items()
        ]
        published: dict[str, dict[str, Any]] = {}
        for name, result in evals.items():
            of_set = result.get(task, {})
            for mode in MODES:
                for parser, figures in (("", of_set), (", strict", of_set.get("strict", {}))):
                    values, bounds = figures.get(mode, {}), figures.get("intervals", {}).get(mode, {})
                    if values:
                        estimates = {metric: Estimate(values[metric], *bounds[metric]) for metric in bounds}
                        lines.append((f"{name}, {mode}{parser}", values | estimates))
            rows_of = RowSet(of_set.get("task", task), of_set.get("dataset"), of_set.get("rows", 0))
            published |= {f"{one.model} ({one.source})": one.values for one in published_results(rows_of).comparable}
        lines += published.items()
        metrics = list(dict.fromkeys(metric for _, values in lines for metric in values))
        # A task names its main metric first; that one is shown with its interval, all are in summary.json.
        rows = [
            [name, *(cell(values.get(metric), metric == metrics[0]) for metric in metrics)] for name, values in lines
        ]
        changes = [
            [mode, metric, f"{c['change']:+.3f}", f"[{c['low']:+.3f}, {c['high']:+.3f}]"]
            for mode, by_metric in summary.get("change", {}).get(task, {}).items()
            for metric, c in by_metric.items()
        ]
        num_rows = " and ".join(sorted({str(result[task].get("rows")) for result in evals.values() if task in result}))
        tables.append(
            {"name": task, "num_rows": num_rows or "unknown", "metrics": metrics, "rows": rows, "changes": changes}
        )
    return tables


def curves(run: RunDir) -> list[str]:
    """One chart per metric; the rewards and the held-out values of all tasks share one each."""
    charts: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for stage in ("train", "cold_start"):
        for step, values in read_metrics(run, stage).items():
            for name, value in values.items():
                chart, line = chart_of(name)
                charts[chart if stage == "train" else f"cold start: {chart}"][line].append((step, value))
    return [svg_chart(name, lines) for name, lines in sorted(charts.items(), key=lambda item: chart_rank(item[0]))]


def chart_of(name: str) -> tuple[str, str]:
    """(chart, line) that a metric is drawn in."""
    chart, _, line = name.partition("/")
    if chart == "eval" and "/" in line:
        task, mode, metric = (*line.split("/", 2), "")[:3]
        return f"{task}, {mode}, held out", metric or task
    if chart == "eval":
        return "held-out main metric", line
    per_task = {"fault": "completions at fault", "score": "scores"}
    if chart in per_task:
        task, _, kind = line.partition("/")
        return f"{per_task[chart]}, {task}", kind or task
    return chart, line or "all"


def chart_rank(chart: str) -> tuple[int, str]:
    first = ("reward", "held-out main metric", "loss", "entropy", "kl", "clip_share", "logprob_gap", "grad_norm")
    return (first.index(chart) if chart in first else len(first), chart)


def rollouts(run: RunDir) -> dict[str, Any]:
    """{"tasks": {task: {"Best", "Worst", "Random": records}}, "num_read": by task, "num_steps_read", "num_steps"}.

    The steps that are read lie evenly from the first to the last.
    """
    files = sorted(run.rollouts.glob("step_*.jsonl.zst"))
    last = len(files) - 1
    chosen = sorted({round(i * last / (NUM_FILES - 1)) for i in range(NUM_FILES)}) if files else []
    by_task: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for index in chosen:
        for record in read_rollouts(files[index]):
            by_task[record["task"]].append({"image": None, **record})
    tasks = {}
    for task, records in sorted(by_task.items()):
        ranked = sorted(records, key=lambda r: r["reward"])
        tasks[task] = {
            "Best": ranked[::-1][:NUM_SHOWN],
            "Worst": ranked[:NUM_SHOWN],
            "Random": random.Random(0).sample(records, min(NUM_SHOWN, len(records))),
        }
    num_read = {task: len(records) for task, records in by_task.items()}
    return {"tasks": tasks, "num_read": num_read, "num_steps_read": len(chosen), "num_steps": len(files)}
