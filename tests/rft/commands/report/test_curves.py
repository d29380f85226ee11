"""Metrics as figures: which chart a metric is drawn in, long curves, and the timeline of each step."""

import json
import math
from pathlib import Path

import pytest

from rft.commands.report.curves import MAX_POINTS, MAX_STEPS, chart_of, health, rewards, thin, timeline
from rft.runs.run_dir import RunDir


@pytest.mark.parametrize(
    ("name", "chart"),
    [
        ("reward", ("reward", "all")),
        ("reward/tracking", ("reward", "tracking")),
        ("eval/tracking", ("held-out main metric", "tracking")),
        ("eval/tracking/greedy/R@0.5", ("tracking, greedy, held out", "R@0.5")),
        ("score/tracking/mean_box_iou", ("scores, tracking", "mean_box_iou")),
        ("fault/tracking/no_tag", ("completions at fault, tracking", "no_tag")),
        ("seconds/rollout", ("seconds", "rollout")),
    ],
)
def test_chart_of(name: str, chart: tuple[str, str]) -> None:
    assert chart_of(name) == chart


def test_long_curves_are_averaged() -> None:
    points = [(float(i), math.nan if i % 10 == 3 else float(i % 2)) for i in range(MAX_POINTS * 10)]
    thinned = thin(points)
    assert len(thinned) == MAX_POINTS
    # Of ten values one odd one is not finite: four ones among nine.
    assert all(value == pytest.approx(4 / 9) for _, value in thinned)


def test_short_curves_keep_their_gaps() -> None:
    assert thin([(1, 0.5), (2, math.inf), (3, math.nan)]) == [(1, 0.5), (2, None), (3, None)]


def test_health_shows_what_was_measured() -> None:
    metrics = {1: {"entropy": 0.5, "kl": 0.0, "num_zero_std_groups": 1.0, "num_groups": 4.0}, 2: {"entropy": 0.25}}
    assert health(metrics) == [
        {"title": "Entropy of the policy", "lines": {"entropy": [(1, 0.5), (2, 0.25)]}},
        {"title": "Groups without signal", "lines": {"num_zero_std_groups": [(1, 1.0)], "num_groups": [(1, 4.0)]}},
    ]
    assert rewards({1: {"reward/a": 0.5, "reward": 1.0}, 2: {"reward/b": 0.25}}) == {"a": [(1, 0.5)], "b": [(2, 0.25)]}


def test_timeline_of_a_long_run(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    lines = [
        json.dumps({"name": "update", "ph": "X", "ts": step * 1e6, "dur": 5e5, "tid": 1, "args": {"step": step}})
        for step in range(1, 1001)
    ]
    run.timeline.write_text("[\n" + "".join(f"{line},\n" for line in lines))
    shown = timeline(run)["steps"]
    assert len(shown) == MAX_STEPS
    assert shown[1000] == [["learner", "update", 0.0, 0.5]]
    assert 1 in shown
    assert timeline(RunDir(tmp_path / "none"))["steps"] == {}
