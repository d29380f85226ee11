"""The options of docs/methods.md in runs of the real engine and learner: each does its work and says so."""

import json
import subprocess
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import yaml

from rft.runs.metrics import read_metrics
from rft.runs.rollout_files import read_rollouts
from rft.runs.run_dir import RunDir
from rft.synthetic.rows import Sizes, write_dataset

pytestmark = pytest.mark.slow

TASKS = ("multiple_choice", "temporal_grounding")
STEPS = 4


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_dataset(
        folder, seed=0, train=Sizes(events=4, journeys=4), held_out=Sizes(events=1, journeys=1), num_processes=1
    )
    return folder


def rft(*arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "rft", *map(str, arguments)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def train(folder: Path, name: str, **keys: Any) -> RunDir:
    """`rft train` on a small recipe of two tasks; its folder."""
    recipe = {
        "tasks": {task: {} for task in TASKS},
        "data": {"train": [str(rows_of(folder, "train"))]},
        "video": {"max_frames": 16, "min_pixels": 3136, "max_pixels": 3136, "cache_dir": str(folder / "clips")},
        "steps": STEPS,
        "prompts_per_step": 4,
        "sampling": {"num_generations": 4, "max_completion_length": 80},
        "rollout": {"max_model_len": 512, "kv_cache_gib": 0.25},
        "learner": {"learning_rate": 1e-3, "dtype": "float32"},
        "run_dir": str(folder / "runs" / name),
        **keys,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe))
    rft("train", path)
    return RunDir(folder / "runs" / name)


def rows_of(data: Path, split: str) -> Path:
    """The rows of the two tasks."""
    path = data / f"{split}_of_two.jsonl"
    lines = (data / f"{split}.jsonl").read_text().splitlines()
    path.write_text("".join(f"{line}\n" for line in lines if json.loads(line)["task"] in TASKS))
    return path


@pytest.fixture(scope="module")
def policy(data: Path) -> str:
    """One that answers in the asked form, and not always right: its demonstrations are loose."""
    cold = {"data": [str(rows_of(data, "cold_start"))], "steps": 60, "learning_rate": 3e-3, "rows_per_step": 8}
    latest = train(data, "supervised", model=str(data / "policy"), steps=0, cold_start=cold).latest_checkpoint()
    assert latest is not None
    return str(latest / "policy")


def test_ground_truths_join_the_groups_and_leave_the_gap_to_the_engine_alone(data: Path, policy: str) -> None:
    run = train(data, "ground_truth", model=policy, algorithm={"ground_truth": {"advantage": "scaled_reward"}})
    for step, metrics in read_metrics(run).items():
        with_signal = metrics["num_groups"] - metrics["num_groups_without_signal"]
        assert metrics.get("num_ground_truths", 0) == with_signal
        learned = sum(rollout["advantage"] is not None for rollout in read_rollouts(run.rollouts_file(step)))
        assert metrics["num_samples"] == learned + with_signal
        assert metrics["num_tokens"] > metrics["num_sampled_tokens"] > 0
        assert metrics["logprob_gap"] < 0.02


def test_right_answers_earn_more_where_shuffled_frames_do_no_better(data: Path, policy: str) -> None:
    run = train(data, "frame_order", model=policy, scoring={"order_bonus": {"reward": "choice_accuracy"}})
    rollouts = [r for step in range(1, STEPS + 1) for r in read_rollouts(run.rollouts_file(step))]
    assert len(rollouts) == STEPS * 4 * 4
    assert any(r["scores"].get("frame_order", {"value": 0.0})["value"] == 1 for r in rollouts)
    for rollout in rollouts:
        scores = {name: score["value"] for name, score in rollout["scores"].items()}
        bonus = scores.pop("frame_order", None)
        assert (bonus is not None) == (rollout["task"] == "multiple_choice")
        assert rollout["reward"] == pytest.approx(sum(scores.values()) + 0.3 * (bonus or 0.0))
    for metrics in read_metrics(run).values():
        accuracy = metrics.get("score/multiple_choice/choice_accuracy")
        assert (accuracy is None) == ("shuffled_score/multiple_choice" not in metrics)
        # The supervised stage decoded all clips; none is decoded again for its other order.
        assert metrics["clips/decodes"] == 0


def test_solved_rows_are_dropped_and_rows_can_be_selected_by_the_runs_answers(data: Path, policy: str) -> None:
    rows = rows_of(data, "train")
    settings = {"train": [str(rows)], "drop_solved": 0.4}
    run = train(data, "solved", model=policy, data=settings, steps=4, prompts_per_step=2)
    rft("train", data / "solved.yaml", "steps=8", "--resume")
    solved: set[str] = set()
    for step, metrics in read_metrics(run).items():
        groups: dict[str, list[float]] = {}
        for rollout in read_rollouts(run.rollouts_file(step)):
            name = {"multiple_choice": "choice_accuracy", "temporal_grounding": "temporal_iou"}[rollout["task"]]
            groups.setdefault(rollout["prompt_id"], []).append(rollout["scores"][name]["value"])
        if len(rows.read_text().splitlines()) - len(solved) >= 2:
            assert not solved & groups.keys()
        solved |= {prompt_id for prompt_id, values in groups.items() if fmean(values) >= 0.4}
        assert metrics["data/solved_rows"] == len(solved)
    assert sorted(read_metrics(run)) == list(range(1, 9))
    assert solved
    kept = data / "kept.jsonl"
    assert "Rows by their answers" in rft(
        "data", "select", rows, "--rollouts", run.path, "-o", kept, "--differ", "0.01"
    )
    assert set(kept.read_text().splitlines()) < set(rows.read_text().splitlines())
