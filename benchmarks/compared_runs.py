"""Tiny runs that are disturbed, and the ones they must be equal to."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import yaml

from rft.files import read_lines, read_records
from rft.runs.run_dir import RunDir
from rft.synthetic.questions import DRAWN_TASKS
from rft.synthetic.rows import Sizes, write_dataset

UNSEEDED = (
    *("time", "seconds/", "clips/", "prefix_cache", "clip_cache", "feature", "num_encoded_videos"),
    *("generated_tokens", "prompt_tokens", "preemptions", "weights_mib", "restarts", "resubmitted"),
    "logprob_gap",  # of the engine's last bits, which depend on which requests share an engine step
)
"""Beginnings of metrics that tell how the work was done, not what it gave; all others must be equal."""

REWARD = """from rewards.types import Score, Target

def letters(completion: str, target: Target) -> Score:
    share = sum(c.isalpha() for c in completion) / max(len(completion), 1)
    return Score(1.0 if "</answer>" in completion else share, None, "share of letters")
"""
"""In a file of its own: groups of an untrained policy have signal by it."""

STARTS = 3
"""Times that a command is tried where Ray does not start: on a busy machine it waits too short."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What tells the recipes of these runs apart."""

    steps: int
    ahead: int = 0
    """Above 1: with `rollout.partial`."""
    has_cold_start: bool = False
    stall_timeout_s: float = 150.0
    """Of engines and learner; they start within this time on a busy machine too."""
    max_restarts: int = 2

    @property
    def name(self) -> str:
        return f"{self.steps}_steps_ahead_{self.ahead}{'_cold' if self.has_cold_start else ''}"


def write_recipe(folder: Path, settings: RunSettings) -> Path:
    """The recipe's file; clips and policy are drawn where missing."""
    data, reward = folder / "data", folder / "reward.py"
    if not (data / "policy").exists():
        write_dataset(data, train=Sizes(events=6, journeys=6), held_out=Sizes(events=2, journeys=2), num_processes=1)
    reward.write_text(REWARD)
    deadlines = {"stall_timeout_s": settings.stall_timeout_s, "max_restarts": settings.max_restarts}
    keys: dict[str, Any] = {
        "model": str(data / "policy"),
        "tasks": {name: {"rewards": {f"{reward.resolve()}:letters": 1.0}} for name in DRAWN_TASKS},
        "data": {"train": [str(data / "train.jsonl")], "eval": [str(data / "test.jsonl")]},
        "video": {"max_frames": 16, "min_pixels": 3136, "max_pixels": 3136, "cache_dir": str(data / "decoded")},
        "steps": settings.steps,
        "prompts_per_step": 4,
        "sampling": {"num_generations": 4, "max_completion_length": 24},
        "rollout": {"max_model_len": 512, "kv_cache_gib": 0.25, "ahead": settings.ahead, **deadlines},
        "learner": {"learning_rate": 1e-3, "dtype": "float32", **deadlines},
        # The correction of mismatch weighs by the engine's log-probabilities. Their last bits depend on which requests
        # share an engine step, and with that on time: no two runs would be equal.
        "algorithm": {"importance_sampling": "none"},
        "parity": {"prompts_per_task": 1},
        "eval": {"every": 4, "max_rows": 4},
        "save_every": 3,
    }
    if settings.ahead > 1:
        keys["rollout"]["partial"] = True
    if settings.has_cold_start:
        cold = {"data": [str(data / "cold_start.jsonl")], "steps": 6, "learning_rate": 3e-3, "rows_per_step": 8}
        keys["cold_start"] = cold
    path = folder / f"{settings.name}.yaml"
    path.write_text(yaml.safe_dump(keys))
    return path


def train_command(folder: Path, settings: RunSettings, run: RunDir) -> list[str]:
    """The arguments of `rft`."""
    return ["train", str(write_recipe(folder, settings)), f"run_dir={run.path}"]


def undisturbed(folder: Path, settings: RunSettings) -> RunDir:
    """A run that nothing happened to; made where missing."""
    run = RunDir(folder / f"undisturbed_{settings.name}")
    if not run.eval_file("final").exists():
        shutil.rmtree(run.path, ignore_errors=True)
        done = end_of([sys.executable, "-m", "rft", *train_command(folder, settings, run)])
        if done.status:
            raise RuntimeError(done.printed)
    return run


@dataclass(frozen=True, slots=True)
class End:
    """Of a command that has ended, or was ended because it hung."""

    status: int | None
    """None: it hung."""
    after_s: float
    """From the fault on, or from the start where there was none."""
    printed: str
    left: tuple[str, ...]
    """Processes and temporary files of it that were still there."""


def end_of(command: Sequence[str], struck: Path | None = None, limit_s: float = 600.0) -> End:
    """Run `command` in a process group and with a folder for temporary files of its own.

    `struck`: as in `Try.command`. `limit_s`: after which it is said to hang.
    """
    for _ in range(STARTS):
        done = _run_once(command, struck, limit_s)
        if "Ray cannot start" not in done.printed:
            break
    return done


def _run_once(command: Sequence[str], struck: Path | None, limit_s: float) -> End:
    if struck is not None:
        struck.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="f-", dir="/tmp", ignore_cleanup_errors=True) as outer:
        printed, own = Path(outer, "printed"), Path(outer, "t")
        own.mkdir()
        began, status = time.time(), None
        with printed.open("w") as output:
            process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | {"TMPDIR": str(own)},
                start_new_session=True,
            )
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(limit_s)
        after_s = time.time() - (struck.stat().st_mtime if struck and struck.exists() else began)
        was_killed = status is None or status < 0
        time.sleep(10.0 if was_killed else 1.0)  # Ray's servers notice within seconds that their driver is gone
        left = end_processes_of(own)
        process.wait()
        # What a killed run leaves on disk is removed by the next start in the same folder.
        left += () if was_killed else tuple(sorted(path.name for path in own.iterdir()))
        return End(status, after_s, printed.read_text(errors="replace"), left)


def end_processes_of(temporary: Path) -> tuple[str, ...]:
    """Kill the processes whose temporary files lie in or below `temporary`; returns what they are."""
    alive = [process for process in psutil.process_iter() if is_below(process, temporary)]
    names = tuple(process.name() for process in alive if process.is_running())
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive)
    return names


def is_below(process: psutil.Process, temporary: Path) -> bool:
    try:
        return Path(process.environ().get("TMPDIR", "/")).is_relative_to(temporary)
    except psutil.Error:
        return False


def differences(run: RunDir, expected: RunDir, last_step: int) -> list[str]:
    """What is not equal: metrics with their first step, files of rollouts and evaluations, policy and optimizer."""
    first: dict[str, int] = {}
    ours, theirs = seeded_metrics(run), seeded_metrics(expected)
    for step in sorted(ours.keys() | theirs.keys()):
        for name in sorted(ours[step].keys() | theirs[step].keys()):
            if ours[step].get(name) != theirs[step].get(name):
                first.setdefault(name, step)
    found = [f"{name} from step {step}" for name, step in first.items()]
    for folder in ("rollouts", "eval"):
        names = {path.name for each in (run, expected) for path in (each.path / folder).iterdir()}
        unequal = (n for n in sorted(names) if records(run, folder, n) != records(expected, folder, n))
        found += [f"{folder}/{name}" for name in unequal]
    for name in ("policy/model.safetensors", "optimizer.safetensors"):
        if tensors(run.checkpoint(last_step) / name) != tensors(expected.checkpoint(last_step) / name):
            found.append(name)
    return found


def prompt_differences(run: RunDir, expected: RunDir, last_step: int) -> list[str]:
    """Steps whose prompts, or numbers of completions, are others: what must be equal with partial rollouts too."""
    steps = {f"prompts of step {step}": run.rollouts_file(step).name for step in range(1, last_step + 1)}
    return [step for step, name in steps.items() if _answered(run, name) != _answered(expected, name)]


def _answered(run: RunDir, name: str) -> Counter[str]:
    """Prompt id -> number of its completions in a file of rollouts."""
    return Counter(one["prompt_id"] for one in records(run, "rollouts", name) or ())


def seeded_metrics(run: RunDir) -> Mapping[int, dict[str, Any]]:
    """Step -> its metrics that must be equal; the lines of a step are joined."""
    steps: defaultdict[int, dict[str, Any]] = defaultdict(dict)
    for line in read_lines(run.metrics):
        if line["stage"] == "train":
            steps[line["step"]] |= {name: v for name, v in line.items() if not name.startswith(UNSEEDED)}
    return steps


def records(run: RunDir, folder: str, name: str) -> list[Any] | None:
    path = run.path / folder / name
    return list(read_records(path)) if path.exists() else None


def tensors(path: Path) -> dict[str, bytes]:
    from safetensors.numpy import load_file

    return {name: tensor.tobytes() for name, tensor in load_file(path).items()}
