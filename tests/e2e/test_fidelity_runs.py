"""All tasks of the quickstart in one run, as published and corrected: each task's curve is its own."""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from rft.runs.metrics import read_metrics
from rft.runs.rollout_files import read_rollouts
from rft.runs.run_dir import RunDir
from rft.synthetic.rows import Sizes, write_dataset

pytestmark = pytest.mark.slow

TASKS = ("temporal_grounding", "multiple_choice", "grounded_qa", "tracking")
STEPS = 3


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    few = Sizes(events=4, journeys=4)
    write_dataset(folder, seed=0, train=few, held_out=Sizes(events=1, journeys=1), num_processes=1)
    return folder


def train(data: Path, name: str, **keys: Any) -> tuple[RunDir, str]:
    """`rft train` on a small recipe; its folder, and what it printed."""
    recipe = {
        "tasks": {task: {} for task in TASKS},
        "data": {"train": [str(data / "train.jsonl")], "eval": [str(data / "test.jsonl")]},
        "video": {"max_frames": 16, "min_pixels": 3136, "max_pixels": 3136, "cache_dir": str(data / "clips")},
        "steps": STEPS,
        "prompts_per_step": 8,
        "sampling": {"num_generations": 4, "max_completion_length": 80},
        "rollout": {"max_model_len": 512, "kv_cache_gib": 0.25},
        "learner": {"learning_rate": 1e-4, "dtype": "float32"},
        "run_dir": str(data / "runs" / name),
        **keys,
    }
    path = data / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe))
    done = subprocess.run(
        [sys.executable, "-m", "rft", "train", str(path)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return RunDir(data / "runs" / name), done.stdout


@pytest.fixture(scope="module")
def supervised(data: Path) -> tuple[RunDir, str]:
    """The supervised stage alone, until rewards differ within groups."""
    cold = {"data": [str(data / "train.jsonl")], "steps": 100, "learning_rate": 3e-3, "rows_per_step": 8}
    return train(data, "supervised", model=str(data / "policy"), steps=0, cold_start=cold, fidelity="corrected")


def checkpoint_of(run: RunDir) -> Path:
    latest = run.latest_checkpoint()
    assert latest is not None
    return latest


@pytest.fixture(scope="module", params=["as_published", "corrected"])
def joint(request: pytest.FixtureRequest, data: Path, supervised: tuple[RunDir, str]) -> RunDir:
    model = checkpoint_of(supervised[0]) / "policy"
    return train(data, request.param, model=str(model), fidelity=request.param)[0]


def test_each_tasks_curve_holds_the_rollouts_of_that_task_alone(joint: RunDir) -> None:
    steps = read_metrics(joint)
    assert sorted(steps) == list(range(1, STEPS + 1))
    seen, spread = set(), set()
    for step, metrics in steps.items():
        rewards, scores = defaultdict(list), defaultdict(list)
        for rollout in read_rollouts(joint.rollouts_file(step)):
            task = rollout["task"]
            rewards[f"reward/{task}"].append(rollout["reward"])
            for name, score in rollout["scores"].items():
                scores[f"score/{task}/{name}"].append(score["value"])
        expected = {name: fmean(values) for name, values in (rewards | scores).items()}
        found = {name: value for name, value in metrics.items() if name.startswith(("reward/", "score/"))}
        assert found == pytest.approx(expected)
        assert metrics["reward"] == pytest.approx(fmean(value for values in rewards.values() for value in values))
        seen |= {name.partition("/")[2] for name in rewards}
        spread |= {name for name, values in rewards.items() if len(set(values)) > 1}
    assert seen == set(TASKS)
    assert spread, "every rollout earned the same: the curves would agree whatever they held"


def test_groups_without_signal_go_as_the_recipe_says(joint: RunDir) -> None:
    keeps = yaml.safe_load(joint.recipe.read_text())["algorithm"]["silent_groups"] == "keep"
    for step, metrics in read_metrics(joint).items():
        learned_from = [r["advantage"] is not None for r in read_rollouts(joint.rollouts_file(step))]
        assert metrics["num_samples"] == sum(learned_from)
        assert all(learned_from) == (keeps or metrics["num_groups_without_signal"] == 0)


def test_the_supervised_stage_alone_is_measured_before_and_after(supervised: tuple[RunDir, str]) -> None:
    run, printed = supervised
    summary = json.loads(run.summary.read_text())
    assert set(summary["eval"]) == {"base", "final"}
    assert set(summary["change"]) == set(TASKS)
    assert checkpoint_of(run).name == "step_000000"
    assert "-> GRPO" not in printed
    assert read_metrics(run) == {}
    saved, learned = (load_file(p / "model.safetensors") for p in (checkpoint_of(run) / "policy", run.cold_start))
    assert all(torch.equal(saved[name], tensor) for name, tensor in learned.items())
