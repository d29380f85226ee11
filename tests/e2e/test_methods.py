"""Runs of the real engine and learner, as published and corrected, and with the options of docs/methods.md.

All begin with one supervised policy; each does its work and says so.
"""

import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
import yaml
from forked import rft
from safetensors.torch import load_file

from rft.runs.metrics import read_metrics
from rft.runs.rollout_files import read_rollouts
from rft.runs.run_dir import RunDir
from rft.synthetic.rows import Sizes, write_dataset

pytestmark = pytest.mark.slow

TASKS = ("temporal_grounding", "multiple_choice", "grounded_qa", "tracking")
STEPS = 3

TWO_TASKS = ("multiple_choice", "temporal_grounding")
STEPS_WITH_OPTIONS = 8
SOLVED = 0.4


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    few = Sizes(events=4, journeys=4)
    write_dataset(folder, seed=0, train=few, held_out=Sizes(events=1, journeys=1), num_processes=1)
    return folder


def train(folder: Path, name: str, **keys: Any) -> tuple[RunDir, str]:
    """`rft train` on a small recipe; its folder, and what it printed."""
    recipe = {
        "tasks": {task: {} for task in TASKS},
        "data": {"train": [str(folder / "train.jsonl")], "eval": [str(folder / "test.jsonl")]},
        "video": {"max_frames": 16, "min_pixels": 3136, "max_pixels": 3136, "cache_dir": str(folder / "clips")},
        "steps": STEPS,
        "prompts_per_step": 8,
        "sampling": {"num_generations": 4, "max_completion_length": 80},
        "rollout": {"max_model_len": 512, "kv_cache_gib": 0.25},
        "learner": {"learning_rate": 1e-4, "dtype": "float32"},
        "run_dir": str(folder / "runs" / name),
        **keys,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe))
    printed = rft("train", path)
    return RunDir(folder / "runs" / name), printed


def rows_of_two(folder: Path) -> Path:
    """The training rows of the two tasks."""
    path = folder / "train_of_two.jsonl"
    lines = (folder / "train.jsonl").read_text().splitlines()
    path.write_text("".join(f"{line}\n" for line in lines if json.loads(line)["task"] in TWO_TASKS))
    return path


@pytest.fixture(scope="module")
def supervised(data: Path) -> tuple[RunDir, str]:
    """The supervised stage alone: it answers in the asked form, and not always right: its demonstrations are loose."""
    cold = {"data": [str(data / "cold_start.jsonl")], "steps": 100, "learning_rate": 3e-3, "rows_per_step": 8}
    return train(data, "supervised", model=str(data / "policy"), steps=0, cold_start=cold, fidelity="corrected")


def checkpoint_of(run: RunDir) -> Path:
    latest = run.latest_checkpoint()
    assert latest is not None
    return latest


@pytest.fixture(scope="module")
def policy(supervised: tuple[RunDir, str]) -> str:
    return str(checkpoint_of(supervised[0]) / "policy")


@pytest.fixture(scope="module")
def as_published(data: Path, policy: str) -> RunDir:
    """All tasks."""
    return train(data, "as_published", model=policy, fidelity="as_published")[0]


@pytest.fixture(scope="module")
def corrected(data: Path, policy: str) -> RunDir:
    """Two of the tasks, nothing evaluated, and three options that do not touch each other: ground truths in the groups,
    a bonus where frame order matters, and rows that are left out once they are solved."""
    return train(
        data,
        "corrected",
        model=policy,
        fidelity="corrected",
        tasks={task: {} for task in TWO_TASKS},
        data={"train": [str(rows_of_two(data))], "drop_solved": SOLVED},
        steps=STEPS_WITH_OPTIONS,
        prompts_per_step=2,
        algorithm={"ground_truth": {"advantage": "scaled_reward"}},
        scoring={"order_bonus": {"reward": "choice_accuracy"}},
        learner={"learning_rate": 1e-3, "dtype": "float32"},
    )[0]


@pytest.fixture(params=["as_published", "corrected"])
def joint(request: pytest.FixtureRequest) -> RunDir:
    """A run of several tasks."""
    run: RunDir = request.getfixturevalue(request.param)
    return run


def test_each_tasks_curve_holds_the_rollouts_of_that_task_alone(joint: RunDir) -> None:
    steps, recipe = read_metrics(joint), yaml.safe_load(joint.recipe.read_text())
    assert sorted(steps) == list(range(1, recipe["steps"] + 1))
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
    assert seen == set(recipe["tasks"])
    assert spread, "every rollout earned the same: the curves would agree whatever they held"


def test_groups_without_signal_go_as_the_recipe_says(joint: RunDir) -> None:
    keeps = yaml.safe_load(joint.recipe.read_text())["algorithm"]["zero_std_groups"] == "keep"
    for step, metrics in read_metrics(joint).items():
        learned_from = [r["advantage"] is not None for r in read_rollouts(joint.rollouts_file(step))]
        assert metrics["num_samples"] == sum(learned_from) + metrics.get("num_ground_truths", 0)
        assert all(learned_from) == (keeps or metrics["num_zero_std_groups"] == 0)


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


def test_ground_truths_join_the_groups_and_leave_the_gap_to_the_engine_alone(corrected: RunDir) -> None:
    for metrics in read_metrics(corrected).values():
        with_signal = metrics["num_groups"] - metrics["num_zero_std_groups"]
        assert metrics.get("num_ground_truths", 0) == with_signal
        assert not with_signal or metrics["num_tokens"] > metrics["num_sampled_tokens"] > 0
    gaps = [metrics["logprob_gap"] for metrics in read_metrics(corrected).values() if "logprob_gap" in metrics]
    assert gaps
    assert max(gaps) < 0.02


def test_right_answers_earn_more_where_shuffled_frames_do_no_better(corrected: RunDir) -> None:
    rollouts = [r for step in read_metrics(corrected) for r in read_rollouts(corrected.rollouts_file(step))]
    assert len(rollouts) == STEPS_WITH_OPTIONS * 2 * 4
    assert any(r["scores"].get("frame_order", {"value": 0.0})["value"] == 1 for r in rollouts)
    for rollout in rollouts:
        scores = {name: score["value"] for name, score in rollout["scores"].items()}
        bonus = scores.pop("frame_order", None)
        assert (bonus is not None) == (rollout["task"] == "multiple_choice")
        assert rollout["reward"] == pytest.approx(sum(scores.values()) + 0.3 * (bonus or 0.0))
    for metrics in read_metrics(corrected).values():
        accuracy = metrics.get("score/multiple_choice/choice_accuracy")
        assert (accuracy is None) == ("shuffled_score/multiple_choice" not in metrics)
        # The supervised stage decoded all clips; none is decoded again for its other order.
        assert metrics["clips/decodes"] == 0


def test_solved_rows_are_dropped_and_rows_can_be_selected_by_the_runs_answers(data: Path, corrected: RunDir) -> None:
    """tests/e2e/test_resume.py: a run that is resumed leaves out the same."""
    rows, solved = rows_of_two(data), set[str]()
    for step, metrics in read_metrics(corrected).items():
        groups: dict[str, list[float]] = {}
        for rollout in read_rollouts(corrected.rollouts_file(step)):
            name = {"multiple_choice": "choice_accuracy", "temporal_grounding": "temporal_iou"}[rollout["task"]]
            groups.setdefault(rollout["prompt_id"], []).append(rollout["scores"][name]["value"])
        if len(rows.read_text().splitlines()) - len(solved) >= 2:
            assert not solved & groups.keys()
        solved |= {prompt_id for prompt_id, values in groups.items() if fmean(values) >= SOLVED}
        assert metrics["data/solved_rows"] == len(solved)
    assert solved
    kept = data / "kept.jsonl"
    select = ("data", "select", rows, "--rollouts", corrected.path, "-o", kept, "--differ", "0.01")
    assert "Rows by their answers" in rft(*select)
    assert set(kept.read_text().splitlines()) < set(rows.read_text().splitlines())
