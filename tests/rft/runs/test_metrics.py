"""Metric files."""

import json
import math
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rft.errors import CheckpointError
from rft.recipe import Recipe
from rft.runs.metrics import MetricsWriter, read_metrics
from rft.runs.run_dir import RunDir
from rft.runs.trackers.background import Trackers


def curve(run: RunDir, stage: str, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(run.tensorboard / stage))
    events.Reload()
    return [(event.step, round(event.value, 4)) for event in events.Scalars(name)]


def test_lines_and_curves_come_back(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    recipe = Recipe.model_validate({"model": "policy", "tasks": {}, "data": {"train": ["rows.jsonl"]}, "steps": 2})
    trackers = Trackers(recipe, run, lambda media: None, pytest.fail)
    writer = MetricsWriter(run, trackers)
    writer.write(1, {"loss": 2.0}, stage="cold_start")
    writer.write(1, {"reward": 0.5, "loss": math.nan})
    writer.write(1, {"eval/tracking": 0.25})
    writer.write(2, {"reward": 0.75})
    assert trackers.close() == {}
    assert read_metrics(run, "cold_start") == {1: {"loss": 2.0}}
    steps = read_metrics(run)
    assert math.isnan(steps[1].pop("loss"))
    assert steps == {1: {"reward": 0.5, "eval/tracking": 0.25}, 2: {"reward": 0.75}}
    assert "NaN" not in run.metrics.read_text()
    assert all(json.loads(line)["time"] > 0 for line in run.metrics.read_text().splitlines())
    assert curve(run, "train", "reward") == [(1, 0.5), (2, 0.75)]
    assert curve(run, "cold_start", "loss") == [(1, 2.0)]


def test_refusing_disk_is_a_clear_error(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "gone")
    with pytest.raises(CheckpointError, match=r"metrics.jsonl: cannot be written: No such file.*--resume"):
        MetricsWriter(run).write(1, {"reward": 0.5})
