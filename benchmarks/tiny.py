"""What the benchmarks of whole steps share: drawn clips, the tiny policy, a recipe, a timed run."""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.report import add_output_arguments
from rft.files import read_lines
from rft.runs.run_dir import RunDir
from rft.synthetic.rows import Sizes, write_dataset

TASK = "temporal_grounding"
SIDE = 224
"""Pixels of a frame's width and height: 64 tokens per frame pair of 28 x 28 pixels each."""

BETA = 0.04
WARM_UP = 1
"""Steps that are run but not counted."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One step's worth of GRPO, many times over."""

    prompts: int
    """P, per step."""
    group: int
    """G, completions per prompt."""
    completion_tokens: int
    """C, at which completions are cut; the random policy ends few earlier."""
    frames: int
    """Per clip; an even number."""
    steps: int
    """Counted ones, after WARM_UP."""
    beta: float = BETA
    """Weight of the KL term; 0: no reference."""
    side: int = SIDE

    @property
    def num_clips(self) -> int:
        """So that no step sees a clip of an earlier one."""
        return self.prompts * (self.steps + WARM_UP)


def add_arguments(parser: argparse.ArgumentParser, steps: int) -> None:
    parser.add_argument("--prompts", type=int, default=8, help="P, prompts per step")
    parser.add_argument("--group", type=int, default=8, help="G, completions per prompt")
    parser.add_argument("--completion-tokens", type=int, default=64)
    parser.add_argument("--frames", type=int, default=16, help="per clip; 16 make prompts of about 600 tokens")
    parser.add_argument("--steps", type=int, default=steps, help=f"counted, after {WARM_UP} that warm up")
    add_output_arguments(parser)


def workload(arguments: argparse.Namespace, beta: float = BETA) -> Workload:
    a = arguments
    return Workload(a.prompts, a.group, a.completion_tokens, a.frames, a.steps, beta)


def write_data(folder: Path, num_clips: int) -> None:
    """`train.jsonl`, a row of TASK for each of the clips, and `policy` in `folder`."""
    write_dataset(folder, train=Sizes(events=num_clips, journeys=0), held_out=Sizes(0, 0))
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    kept = "".join(json.dumps(row) + "\n" for row in rows if row["task"] == TASK)
    (folder / "train.jsonl").write_text(kept, encoding="utf-8")


def recipe_keys(folder: Path, work: Workload, **rollout: Any) -> dict[str, Any]:
    """A recipe over what write_data wrote; `rollout`: further keys of that section.

    Groups without signal are learned from: an untrained policy has hardly any other, and the others do the same.
    """
    return {
        "model": str(folder / "policy"),
        "tasks": {TASK: {}},
        "data": {"train": [str(folder / "train.jsonl")]},
        "steps": work.steps + WARM_UP,
        "prompts_per_step": work.prompts,
        "video": {
            "min_frames": work.frames,
            "max_frames": work.frames,
            "min_pixels": work.side**2,
            "max_pixels": work.side**2,
        },
        "sampling": {"num_generations": work.group, "max_completion_length": work.completion_tokens},
        "rollout": {"max_model_len": 2048, "kv_cache_gib": 0.5} | rollout,
        "algorithm": {"beta": work.beta, "zero_std_groups": "keep"},
        "learner": {"learning_rate": 1e-6, "dtype": "float32"},
    }


@dataclass(frozen=True, slots=True)
class TimedStep:
    """A counted step of `rft train`."""

    seconds: float
    """From the end of the step before to its own: recording included."""
    metrics: dict[str, float]


def run_training(folder: Path, name: str, keys: Mapping[str, Any]) -> tuple[TimedStep, ...]:
    """The counted steps of `rft train` with this recipe. RuntimeError: the run failed before the last, and how.

    What fails after it, such as a checkpoint that the disk has no room for, is printed to standard error.
    """
    recipe, run = folder / f"{name}.yaml", RunDir(folder / name)
    recipe.write_text(yaml.safe_dump(dict(keys)), encoding="utf-8")
    command = [sys.executable, "-m", "rft", "train", str(recipe), f"run_dir={run.path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    recorded = read_lines(run.metrics) if run.metrics.exists() else ()
    lines = [line for line in recorded if line["stage"] == "train"]
    if done.returncode:
        failure = f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
        if len(lines) < keys["steps"]:
            raise RuntimeError(failure)
        print(failure, file=sys.stderr)
    return tuple(
        TimedStep(after["time"] - before["time"], {k: v for k, v in after.items() if isinstance(v, int | float)})
        for before, after in zip(lines[WARM_UP - 1 :], lines[WARM_UP:], strict=False)
    )
