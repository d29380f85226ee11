"""Learning curves of a run: what its training earned, and what its held-out answers were worth."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
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
    return {
        name: [(step, fmean(values[of_set.metric] for values in rows)) for step, rows in of_set.rows.items()]
        for name, of_set in shared_rows(run, last_step).items()
        if len(of_set.rows) > 2
    }


@dataclass(frozen=True, slots=True)
class SharedRows:
    """The rows of a set that all stored evaluations of a run hold."""

    metric: str
    """Main metric of the task."""
    rows: dict[int, list[dict[str, float]]]
    """Step -> the values of each row's greedy answer."""
    units: list[tuple[str, str]]
    """Unit of each row, drawn as a whole for intervals."""
    seed: int
    """Seed of the bootstrap."""


def shared_rows(run: RunDir, last_step: int) -> dict[str, SharedRows]:
    """Set of rows -> its shared rows in all evaluations, the final one at `last_step`; sets without any left out."""
    paths = {0: run.eval_file("cold_start"), last_step: run.eval_file("final")}
    paths |= {step_of(path): path for path in run.evals.glob("step_*")}
    results = {step: read_result(path) for step, path in sorted(paths.items()) if path.exists()}
    shared: dict[str, SharedRows] = {}
    for name in sorted(set.intersection(*(set(result.sets) for result in results.values())) if results else ()):
        first = results[min(results)]
        rows = {step: result.rows(name, "greedy") for step, result in results.items()}
        ids = sorted(set.intersection(*map(set, rows.values())))
        if ids:
            values = {step: [of_step[row] for row in ids] for step, of_step in rows.items()}
            units = first.units
            metric = TASKS[first.sets[name].task].main_metric
            shared[name] = SharedRows(metric, values, [units[row] for row in ids], first.seed)
    return shared
