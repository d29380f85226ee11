"""Metrics over the steps, and what ran when, as figures for the page."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from rft.runs.metrics import read_metrics
from rft.runs.run_dir import RunDir
from rft.runs.timeline import LANES, read_timeline

MAX_POINTS = 400
"""Points of a line that are drawn; longer ones are averaged over equal stretches."""

MAX_STEPS = 200
"""Steps whose timeline a page holds, evenly from the first to the last."""

Point = tuple[float, float | None]
"""(step, value); None: no finite number."""

HEALTH = {
    "Entropy of the policy": ("entropy",),
    "Length of completions": ("completion_tokens",),
    "KL to the reference": ("kl",),
    "Mismatch of engine and learner": ("logprob_gap",),
    "Gradient norm": ("grad_norm",),
    "Groups without signal": ("num_zero_std_groups", "num_groups"),
    "Cut or failed completions": ("truncated_share", "failed_share"),
    "Spread of rewards in a group": ("reward_std_in_group",),
}
"""Title of a chart that tells of a run's health -> the metrics that it shows."""


def health(metrics: Mapping[int, Mapping[str, float]]) -> list[dict[str, Any]]:
    """The charts {"title", "lines": {name: points}} of HEALTH that a run has metrics for."""
    charts = []
    for title, names in HEALTH.items():
        lines = {name: line(metrics, name) for name in names}
        if any(value for points in lines.values() for _, value in points):
            charts.append({"title": title, "lines": {name: points for name, points in lines.items() if points}})
    return charts


def rewards(metrics: Mapping[int, Mapping[str, float]]) -> dict[str, list[Point]]:
    """Task -> its mean reward at each step."""
    names = {name for values in metrics.values() for name in values if name.startswith("reward/")}
    return {name.removeprefix("reward/"): line(metrics, name) for name in sorted(names)}


def line(metrics: Mapping[int, Mapping[str, float]], name: str) -> list[Point]:
    """The points of one metric."""
    return thin([(step, values[name]) for step, values in metrics.items() if name in values])


def all_charts(run: RunDir) -> list[dict[str, Any]]:
    """One chart {"title", "lines"} per metric; those of all tasks share one."""
    charts: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for stage in ("train", "cold_start"):
        for step, values in read_metrics(run, stage).items():
            for name, value in values.items():
                chart, label = chart_of(name)
                charts[chart if stage == "train" else f"cold start: {chart}"][label].append((step, value))
    return [
        {"title": title, "lines": {label: thin(points) for label, points in lines.items()}}
        for title, lines in sorted(charts.items())
    ]


def chart_of(name: str) -> tuple[str, str]:
    """(chart, line) that a metric is drawn in."""
    chart, _, label = name.partition("/")
    if chart == "eval" and "/" in label:
        task, mode, metric = (*label.split("/", 2), "")[:3]
        return f"{task}, {mode}, held out", metric or task
    if chart == "eval":
        return "held-out main metric", label
    per_task = {"fault": "completions at fault", "score": "scores"}
    if chart in per_task:
        task, _, kind = label.partition("/")
        return f"{per_task[chart]}, {task}", kind or task
    return chart, label or "all"


def thin(points: Sequence[tuple[float, float]]) -> list[Point]:
    """At most MAX_POINTS points: means of equal stretches, of their finite values."""
    if len(points) <= MAX_POINTS:
        return [(step, value if math.isfinite(value) else None) for step, value in points]
    edges = [len(points) * i // MAX_POINTS for i in range(MAX_POINTS + 1)]
    thinned: list[Point] = []
    for i in range(MAX_POINTS):
        stretch = points[edges[i] : edges[i + 1]]
        values = [value for _, value in stretch if math.isfinite(value)]
        thinned.append((stretch[len(stretch) // 2][0], sum(values) / len(values) if values else None))
    return thinned


def timeline(run: RunDir) -> dict[str, Any]:
    """{"lanes", "steps": {step: [lane, name, start, seconds]}}; starts in seconds from the step's first event."""
    events = defaultdict(list)
    for event in read_timeline(run.timeline):
        events[event.step].append(event)
    last = len(events) - 1
    steps = sorted(events)
    shown = {steps[round(i * last / (MAX_STEPS - 1))] for i in range(MAX_STEPS)} if steps else set()
    starts = {step: min(event.start_s for event in events[step]) for step in shown}
    return {
        "lanes": LANES,
        "steps": {
            step: [
                [e.lane, e.name, round(e.start_s - starts[step], 4), round(e.end_s - e.start_s, 4)]
                for e in events[step]
            ]
            for step in sorted(shown)
        },
    }
