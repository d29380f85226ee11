"""Learning curves of a run: what its training earned, and what its held-out answers were worth."""

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from rft.evaluation.predictions import read_result
from rft.runs.metrics import read_metrics
from rft.runs.run_dir import RunDir, step_of
from rft.tables import LineChart
from rft.tasks import TASKS

Points = list[tuple[float, float]]

WINDOWS = 20
"""Rewards are averaged over this part of the steps, so that a line tells a trend from the noise of single steps."""


def learning_curves(run: RunDir) -> tuple[LineChart, ...]:
    """Training reward by task, and where more than two evaluations are stored their greedy main metric; () before."""
    steps = read_metrics(run)
    rewards: dict[str, Points] = defaultdict(list)
    for step, values in steps.items():
        for name, value in values.items():
            if name.startswith("reward/") and math.isfinite(value):
                rewards[name.removeprefix("reward/")].append((step, value))
    window = max(1, len(steps) // WINDOWS)
    smooth = {task: moving_mean(points, window) for task, points in sorted(rewards.items())}
    title = f"Training reward, mean of {window} steps" if window > 1 else "Training reward"
    charts = [LineChart(title, smooth)] if smooth else []
    held_out = held_out_curves(run, max(steps, default=0))
    return (*charts, LineChart("Held-out rows, greedy main metric", held_out)) if held_out else tuple(charts)


def moving_mean(points: Sequence[tuple[float, float]], window: int) -> Points:
    """Each point's mean with the up to `window - 1` points before it."""
    return [
        (step, fmean(value for _, value in points[max(0, i + 1 - window) : i + 1]))
        for i, (step, _) in enumerate(points)
    ]


def held_out_curves(run: RunDir, last_step: int) -> dict[str, Points]:
    """Set of rows -> its points, over the rows that all evaluations share; {} for two evaluations or fewer."""
    paths = {0: run.eval_file("cold_start"), last_step: run.eval_file("final")}
    paths |= {step_of(path): path for path in run.evals.glob("step_*")}
    results = {step: read_result(path) for step, path in sorted(paths.items()) if path.exists()}
    if len(results) < 3:
        return {}
    lines: dict[str, Points] = {}
    for name in set.intersection(*(set(result.sets) for result in results.values())):
        metric = TASKS[results[min(results)].sets[name].task].main_metric
        rows = {step: result.rows(name, "greedy") for step, result in results.items()}
        shared = set.intersection(*map(set, rows.values()))
        if shared:
            lines[name] = [(step, fmean(values[row][metric] for row in shared)) for step, values in rows.items()]
    return dict(sorted(lines.items()))
