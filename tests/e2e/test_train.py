"""`rft train` as a person runs it: real clips, Ray, vLLM, learner; interrupted and resumed.

`rft eval` of a checkpoint: tests/e2e/test_images_and_text.py.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from forked import rft
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from rft.runs.metrics import read_metrics
from rft.runs.rollout_files import read_rollouts
from rft.runs.run_dir import RunDir
from rft.synthetic.questions import DRAWN_TASKS
from rft.synthetic.rows import Sizes, write_dataset

pytestmark = pytest.mark.slow

STEPS = 5

OWN = Path(__file__).with_name("own_half.py")
TASKS = (*DRAWN_TASKS, "half")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    few = Sizes(events=6, journeys=6)
    write_dataset(folder, seed=0, train=few, held_out=Sizes(events=2, journeys=2), num_processes=1)
    for name in ("train.jsonl", "test.jsonl"):
        rows = [json.loads(line) for line in (folder / name).read_text().splitlines()]
        halves = [
            row | {"id": f"half/{row['id']}", "task": "half", "target": {"half": 1 + (row["target"]["span"][0] > 3)}}
            for row in rows
            if row["task"] == "temporal_grounding"
        ]
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in [*rows, *halves]))
    return folder


@pytest.fixture(scope="module")
def recipe(data: Path) -> Path:
    """The drawn tasks, and one by path; a cold start too short to learn more than that the end token ends."""
    path = data / "small.yaml"
    keys = {
        "model": str(data / "policy"),
        "tasks": {name: {"rewards": {"think_format": 1.0}} for name in DRAWN_TASKS}
        | {f"{OWN}:Half": {"rewards": {"think_format": 1.0, f"{OWN}:all_facts": 0.0}}},
        "data": {"train": [str(data / "train.jsonl")], "eval": [str(data / "test.jsonl")]},
        "video": {"max_frames": 16, "min_pixels": 3136, "max_pixels": 3136},
        "steps": STEPS,
        "prompts_per_step": 4,
        "sampling": {"num_generations": 4, "max_completion_length": 24},
        "rollout": {"max_model_len": 512, "kv_cache_gib": 0.25},
        "learner": {"learning_rate": 1e-3, "dtype": "float32", "lr_scheduler_type": "constant"},
        "cold_start": {"data": [str(data / "cold_start.jsonl")], "steps": 6, "learning_rate": 3e-3, "rows_per_step": 8},
        "eval": {"every": 2, "max_rows": 4},
    }
    path.write_text(yaml.safe_dump(keys))
    return path


@pytest.fixture(scope="module")
def finished(recipe: Path) -> tuple[RunDir, str]:
    folder = RunDir(recipe.parent / "finished")
    process = started("train", recipe, f"run_dir={folder.path}")
    printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0, printed
    return folder, printed


def test_run_leaves_a_whole_record(finished: tuple[RunDir, str]) -> None:
    folder, printed = finished
    assert sorted(read_metrics(folder)) == list(range(1, STEPS + 1))
    for step in read_metrics(folder).values():
        assert {f"seconds/{name}" for name in ("data", "rollout", "update", "weights")} <= step.keys()
    rollouts = [rollout for step in range(1, STEPS + 1) for rollout in read_rollouts(folder.rollouts_file(step))]
    assert {rollout["task"] for rollout in rollouts} <= set(TASKS)
    halves = [rollout for rollout in rollouts if rollout["task"] == "half"]
    assert halves
    for rollout in halves:
        num_tokens, truncated = rollout["num_tokens"], rollout["finish_reason"] == "length"
        facts = f"half: 4 texts, {num_tokens} tokens, truncated {truncated}"
        assert rollout["scores"]["all_facts"]["note"] == facts
    summary: dict[str, Any] = json.loads(folder.summary.read_text())
    for name in ("cold_start", "final"):
        assert set(summary["eval"][name]) == set(TASKS)
        assert all(task["rows"] == 2 for task in summary["eval"][name].values())
    assert set(summary["baselines"]) == set(TASKS)
    assert summary["seconds"]["cold_start"] > 0
    assert "greedy: cold start -> GRPO" in printed
    assert "Training reward" in printed
    assert str(folder.path) in printed


def test_nothing_but_plain_lines_is_printed(finished: tuple[RunDir, str]) -> None:
    _, printed = finished
    assert "Warning" not in printed
    assert "INFO" not in printed
    assert "\x1b" not in printed


def test_engine_and_learner_agree_on_log_probabilities(finished: tuple[RunDir, str]) -> None:
    steps = read_metrics(finished[0]).values()
    assert max(step["probe_gap"] for step in steps) < 1e-3
    gaps = [step["logprob_gap"] for step in steps if "logprob_gap" in step]
    assert all(gap < 0.02 for gap in gaps)


def test_checkpoint_is_a_model_folder_that_differs_from_the_cold_start(finished: tuple[RunDir, str]) -> None:
    folder, _ = finished
    latest = folder.latest_checkpoint()
    assert latest is not None
    assert latest.name == f"step_{STEPS:06d}"
    AutoModelForImageTextToText.from_pretrained(latest / "policy")
    before, after = (load_file(p / "model.safetensors") for p in (folder.cold_start, latest / "policy"))
    assert before.keys() == after.keys()
    if any(step.get("skipped_updates") == 0 for step in read_metrics(folder).values()):
        assert any((before[name] != after[name]).any() for name in before)


def wait_until(is_so: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 400
    while not is_so():
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def has_done(step: int, folder: RunDir) -> bool:
    return folder.metrics.exists() and step in read_metrics(folder)


def children_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def learners_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    found = []
    for child in children_of(process):
        with suppress(psutil.NoSuchProcess):
            found += [child] if "".join(child.cmdline()[:1]).startswith("ray::LearnerRank") else []
    return found


def started(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "rft", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def stop_by(number: signal.Signals, process: subprocess.Popen[str], folder: RunDir) -> str:
    """Sends the signal: the run leaves a checkpoint and no process. Returns what it printed."""
    children = children_of(process)
    process.send_signal(number)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 130, printed
    assert [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []
    stopped = folder.latest_checkpoint()
    assert stopped is not None, printed
    assert stopped.name < f"step_{STEPS:06d}", "too late: the run had ended"
    assert "continues with --resume" in printed
    return printed


ASKS = """
from rewards.judge import ChatJudge, Endpoint
from rewards.types import Score, Target


def long_reply(completion: str, target: Target, *, judge, judge_url="", judge_model="", judge_cache=None) -> Score:
    endpoint = Endpoint(judge_url, judge_model, timeout_s=100, cache=judge_cache)
    reply, _ = ChatJudge(endpoint).ask("How long is it?", completion, str)
    return Score(min(len(reply), 50) / 50, None, reply)
"""


def test_sigterm_leaves_a_checkpoint_and_no_process_of_a_run_with_a_judge(recipe: Path, data: Path) -> None:
    folder = RunDir(recipe.parent / "terminated")
    (data / "asks.py").write_text(ASKS)
    keys = yaml.safe_load(recipe.read_text())
    del keys["cold_start"], keys["eval"], keys["data"]["eval"]
    for task in keys["tasks"].values():
        task["rewards"][f"{data / 'asks.py'}:long_reply"] = {"args": {"judge": "model"}}
    keys["scoring"] = {"reward_timeout_s": 300}
    keys["judge"] = {"model": keys["model"], "max_tokens": 8, "engine": {"dtype": "float32"}}
    judged = data / "judged.yaml"
    judged.write_text(yaml.safe_dump(keys))
    process = started("train", judged, f"run_dir={folder.path}")
    wait_until(lambda: has_done(1, folder), process)
    stop_by(signal.SIGTERM, process, folder)
    first = read_metrics(folder)[1]
    assert first["judge/requests"] + first["judge/cache_hits"] == 16
    assert (first["judge/failures"], first["judge/restarts"]) == (0, 0)
    assert 0 < first["judge/completion_tokens"] <= 8 * first["judge/requests"]


def test_a_run_whose_learner_is_killed_and_that_is_interrupted_is_the_same_after_resume(
    recipe: Path, finished: tuple[RunDir, str]
) -> None:
    """The learner starts again from the last checkpoint; the interrupt leaves a checkpoint and no process."""
    folder = RunDir(recipe.parent / "interrupted")
    command = ("train", recipe, f"run_dir={folder.path}")
    process = started(*command)
    wait_until(lambda: has_done(1, folder), process)
    (first,) = learners_of(process)
    first.kill()
    wait_until(lambda: learners_of(process) not in ([], [first]), process)
    wait_until(lambda: has_done(2, folder), process)
    printed = stop_by(signal.SIGINT, process, folder)
    assert "the learner is started again from the last checkpoint" in printed
    rft(*command, "--resume")
    assert sorted(read_metrics(folder)) == list(range(1, STEPS + 1))
    for step in range(1, STEPS + 1):
        ours, theirs = (list(read_rollouts(of.rollouts_file(step))) for of in (folder, finished[0]))
        assert ours == theirs
    assert "final" in json.loads(folder.summary.read_text())["eval"]
