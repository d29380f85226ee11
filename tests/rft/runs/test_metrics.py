"""Metric files, the clock, and the figures of a step's groups."""

import json
import math
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rewards.types import FAULTS, ChoiceTarget, Fault, Score
from rft.clock import Clock
from rft.errors import CheckpointError
from rft.runs.metrics import MetricsWriter, read_metrics
from rft.runs.run_dir import RunDir
from rft.scoring.group_metrics import group_metrics
from rft.types import Completion, FinishReason, Group, Prompt, Rollout, Video, VideoSampling

VIDEO = Video(Path("clip.mp4"), VideoSampling(2.0, 4, 8, 784, 784, 7840))


def curve(run: RunDir, stage: str, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(run.tensorboard / stage))
    events.Reload()
    return [(event.step, round(event.value, 4)) for event in events.Scalars(name)]


def rollout(reward: float, tokens: int, reason: FinishReason = "stop") -> Rollout:
    completion = Completion("x", (1,) * tokens, (0.0,) * tokens, 5, reason, 0)
    fault: Fault | None = None if reward else "unreadable"
    scores = {} if reason == "error" else {"choice_accuracy": Score(reward, "A", "", fault)}
    return Rollout(completion, scores, reward)


def group(task: str, *rollouts: Rollout) -> Group:
    return Group(Prompt("p", task, "Which?", VIDEO, ChoiceTarget("A")), rollouts)


def test_lines_and_curves_come_back(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    with MetricsWriter(run) as writer:
        writer.write(1, {"loss": 2.0}, stage="cold_start")
        writer.write(1, {"reward": 0.5, "loss": math.nan})
        writer.write(1, {"eval/tracking": 0.25})
        writer.write(2, {"reward": 0.75})
    assert read_metrics(run, "cold_start") == {1: {"loss": 2.0}}
    steps = read_metrics(run)
    assert math.isnan(steps[1].pop("loss"))
    assert steps == {1: {"reward": 0.5, "eval/tracking": 0.25}, 2: {"reward": 0.75}}
    assert "NaN" not in run.metrics.read_text()
    assert all(json.loads(line)["time"] > 0 for line in run.metrics.read_text().splitlines())
    assert curve(run, "train", "reward") == [(1, 0.5), (2, 0.75)]
    assert curve(run, "cold_start", "loss") == [(1, 2.0)]


def test_resumed_curves_have_one_point_per_step(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    with MetricsWriter(run) as writer:
        for step in (1, 2, 3):
            writer.write(step, {"reward": 0.1 * step})
    with MetricsWriter(run, resumed_at=1) as writer:
        writer.write(2, {"reward": 0.9})
    assert curve(run, "train", "reward") == [(1, 0.1), (2, 0.9)]


def test_refusing_disk_is_a_clear_error(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "gone")
    with pytest.raises(CheckpointError, match=r"metrics.jsonl: cannot be written: No such file.*--resume"):
        MetricsWriter(run).write(1, {"reward": 0.5})


def test_clock_gives_each_second_to_one_phase() -> None:
    times = iter([0.0, 1.0, 4.0, 10.0, 20.0, 21.0])
    clock = Clock({"update": 100.0}, now=lambda: next(times))
    with clock.phase("rollout"), clock.phase("scoring"):  # 0 to 10, and 1 to 4 within
        pass
    with clock.phase("update"):  # 20 to 21
        pass
    assert clock.seconds == {"update": 101.0, "rollout": 7.0, "scoring": 3.0}


def test_clock_counts_a_phase_that_raises() -> None:
    times = iter([0.0, 2.0])
    clock = Clock(now=lambda: next(times))
    with pytest.raises(RuntimeError), clock.phase("update"):
        raise RuntimeError
    assert clock.seconds == {"update": 2.0}
    clock.add({"update": 1.0, "weights": 3.0})
    assert clock.seconds == {"update": 3.0, "weights": 3.0}


def test_group_metrics() -> None:
    groups = [
        group("multiple_choice", rollout(1.0, 10, "length"), rollout(0.0, 30, "length")),
        group("tracking", rollout(0.5, 20), rollout(0.5, 0, "error")),
    ]
    assert group_metrics(groups) == {
        "reward": 0.5,
        "reward/multiple_choice": 0.5,
        "reward/tracking": 0.5,
        "score/multiple_choice/choice_accuracy": 0.5,
        "score/tracking/choice_accuracy": 0.5,
        "completion_tokens": 15.0,
        "truncated_share": 0.5,
        "failed_share": 0.25,
        "reward_std_in_group": 0.25,
        "sampled_tokens": 60.0,
        "num_rollouts": 4.0,
        **{f"fault/{task}/{kind}": 0.0 for task in ("multiple_choice", "tracking") for kind in FAULTS},
        "fault/multiple_choice/unreadable": 1.0,
    }
    assert group_metrics([]) == {}
