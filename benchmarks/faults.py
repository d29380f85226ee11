"""Does a run that was killed, stopped or hung end up where the undisturbed run does, bit for bit?

    python -m benchmarks.faults                                # tries what has not been tried, then prints the table
    python -m benchmarks.faults --only "kill run" --ahead 1    # some of it
    python -m benchmarks.faults --tables                       # only the table of what has been tried

Every fault is injected into `rft train` on a tiny policy, ten steps on the CPU, at each place of a step and at moments
that differ by seed. Then `rft train --resume`, until the run has ended. Metrics, stored rollouts, evaluations, policy
and optimizer are compared with those of a run that nothing disturbed. A try takes one to two minutes on two cores.
Figures go to benchmarks/results/faults.json.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import yaml

from rft.files import read_lines, read_records
from rft.runs.run_dir import RunDir
from rft.synthetic.questions import DRAWN_TASKS
from rft.synthetic.rows import Sizes, write_dataset
from rft.tables import TextTable, plain

RESULTS = Path("benchmarks/results/faults.json")
STEPS = 10
SAVE_EVERY = 3
STALL_S = 150.0
"""Of engines and learner; they start within this time on a busy machine too."""

LIMIT_S = 600.0
"""After which a command that has not ended is said to hang."""

COUNTED = ("seconds/", "clips/", "prefix_cache", "clip_cache", "feature", "num_encoded_videos")
"""Beginnings of metrics that tell of time and caches, which a start empties; all others must be equal."""

COUNTS = frozenset(
    {"time", "generated_tokens", "prompt_tokens", "preemptions", "weights_mib", "restarts", "resubmitted"}
)
"""Metrics that tell how the work was done, not what it gave."""


REWARD = """from rewards.types import Score, Target

def letters(completion: str, target: Target) -> Score:
    share = sum(c.isalpha() for c in completion) / max(len(completion), 1)
    return Score(1.0 if "</answer>" in completion else share, None, "share of letters")
"""
"""In a file of its own: groups of an untrained policy have signal by it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done to a run, and to which of its processes."""

    name: str
    number: signal.Signals
    target: str
    """"driver", "run" (it and all it started), "group" (likewise, by one signal to all), or a process's name."""
    goes_on: bool = False
    """Whether the run itself gets over it; else `--resume` continues."""


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("kill run", signal.SIGKILL, "run"),
        Fault("kill driver", signal.SIGKILL, "driver"),
        Fault("kill learner", signal.SIGKILL, "ray::LearnerRank", goes_on=True),
        Fault("kill engine", signal.SIGKILL, "ray::RolloutWorker", goes_on=True),
        Fault("kill raylet", signal.SIGKILL, "raylet"),
        Fault("SIGTERM", signal.SIGTERM, "driver"),
        Fault("SIGTERM to all", signal.SIGTERM, "group"),
        Fault("hang engine", signal.SIGSTOP, "ray::RolloutWorker", goes_on=True),
        Fault("hang learner", signal.SIGSTOP, "ray::LearnerRank", goes_on=True),
    )
}

PLACES = {
    "sampling": ("rft.rollout_batches", "RolloutBatches", "_sample"),
    "update": ("rft.actors.learner", "LearnerActors", "update"),
    "hand-over": ("rft.rollout.pool", "WorkerPool", "load_weights"),
    "saving": ("rft.actors.learner", "LearnerActors", "save"),
    "evaluation": ("rft.runs.evaluator", "Evaluator", "__call__"),
}
"""Where a fault strikes: while this method runs in the driver."""


@dataclass(frozen=True, slots=True)
class Try:
    """One fault at one place of one run."""

    fault: str
    place: str
    ahead: int
    seed: int

    @property
    def name(self) -> str:
        return f"{self.fault} {self.place} ahead{self.ahead} {self.seed}".replace(" ", "_")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/faults"))
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS), help="faults")
    parser.add_argument("--places", nargs="+", choices=PLACES, default=list(PLACES))
    parser.add_argument("--ahead", type=int, nargs="+", choices=(0, 1), default=[0, 1])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the moment")
    parser.add_argument("--tables", action="store_true", help="try nothing")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    wanted = [Try(f, p, a, s) for s in args.seeds for a in args.ahead for f in args.only for p in args.places]
    for each in () if args.tables else wanted:
        if not result_file(args.folder, each).exists():
            outcome = attempt(args.folder, each)
            print(each.name, json.dumps(outcome), flush=True)
            result_file(args.folder, each).write_text(json.dumps({**asdict(each), **outcome}))
    tried = [json.loads(path.read_text()) for path in sorted(args.folder.glob("*.result.json"))]
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(tried, indent=1) + "\n")
    print(plain(table(tried)))


def result_file(folder: Path, each: Try) -> Path:
    return folder / f"{each.name}.result.json"


def attempt(folder: Path, each: Try) -> dict[str, Any]:
    """How a run with this fault ended, and in what it differs from the undisturbed one."""
    fault, expected = FAULTS[each.fault], undisturbed(folder, each.ahead)
    run = RunDir(folder / each.name)
    shutil.rmtree(run.path, ignore_errors=True)
    train = ["train", str(recipe(folder, each.ahead)), f"run_dir={run.path}"]
    struck = ended(inject_command(each, train))
    outcome = {"status": struck.status, "ended_s": round(struck.after_s, 1), "said": struck.printed[-600:]}
    stopped_at = run.latest_checkpoint()
    outcome |= {"checkpoint": stopped_at.name if stopped_at else "", "left": struck.left}
    if struck.status != 0 or not fault.goes_on:
        resumed = ended([sys.executable, "-m", "rft", *train, "--resume"])
        outcome |= {"resumed": resumed.status, "left": struck.left + resumed.left}
        if resumed.status:
            outcome["resume_said"] = resumed.printed[-1500:]
            return outcome | {"differs": ["not finished"]}
    outcome["differs"] = differences(run, expected)
    if not outcome["differs"]:
        shutil.rmtree(run.path)
    return outcome


def undisturbed(folder: Path, ahead: int) -> RunDir:
    """A run that nothing happened to; made where missing."""
    run = RunDir(folder / f"undisturbed_{ahead}")
    if not run.eval_file("final").exists():
        shutil.rmtree(run.path, ignore_errors=True)
        done = ended([sys.executable, "-m", "rft", "train", str(recipe(folder, ahead)), f"run_dir={run.path}"])
        if done.status:
            raise RuntimeError(done.printed)
    return run


def recipe(folder: Path, ahead: int) -> Path:
    """Of the tiny run; its clips and policy are made where missing."""
    data, reward = folder / "data", folder / "reward.py"
    if not (data / "policy").exists():
        write_dataset(data, train=Sizes(events=6, journeys=6), held_out=Sizes(events=2, journeys=2), num_processes=1)
    reward.write_text(REWARD)
    keys: dict[str, Any] = {
        "model": str(data / "policy"),
        "tasks": {name: {"rewards": {f"{reward.resolve()}:letters": 1.0}} for name in DRAWN_TASKS},
        "data": {"train": [str(data / "train.jsonl")], "eval": [str(data / "test.jsonl")]},
        "video": {"max_frames": 16, "min_pixels": 3136, "max_pixels": 3136, "cache_dir": str(data / "decoded")},
        "steps": STEPS,
        "prompts_per_step": 4,
        "sampling": {"num_generations": 4, "max_completion_length": 24},
        "rollout": {"max_model_len": 512, "kv_cache_gib": 0.25, "ahead": ahead, "stall_timeout_s": STALL_S},
        "learner": {"learning_rate": 1e-3, "dtype": "float32", "stall_timeout_s": STALL_S},
        # The correction of mismatch weighs by the engine's log-probabilities. Their last bits depend on which requests
        # share an engine step, and with that on time: no two runs would be equal.
        "algorithm": {"importance_sampling": "none"},
        "parity": {"prompts_per_task": 1},
        "eval": {"every": 4, "max_rows": 4},
        "save_every": SAVE_EVERY,
    }
    path = folder / f"ahead_{ahead}.yaml"
    path.write_text(yaml.safe_dump(keys))
    return path


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended, or was ended because it hung."""

    status: int | None
    """None: it hung."""
    after_s: float
    """From the fault on, or from the start where there was none."""
    printed: str
    left: int
    """Processes and temporary files of it that were still there, once it had ended."""


def ended(command: Sequence[str]) -> Ended:
    """As `run_once`; again where Ray did not start, which on a busy machine takes longer than it waits."""
    for _ in range(3):
        done = run_once(command)
        if "Ray cannot start" not in done.printed:
            break
    return done


def run_once(command: Sequence[str]) -> Ended:
    """Run `command` in a process group and with a folder for temporary files of its own."""
    with tempfile.TemporaryDirectory(prefix="f-", dir="/tmp", ignore_cleanup_errors=True) as temporary:
        printed, struck = Path(temporary, "printed"), Path(temporary, "struck")
        own = Path(temporary, "t")
        own.mkdir()
        with printed.open("w") as output:
            process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | {"TMPDIR": str(own), "FAULT_STRUCK": str(struck)},
                start_new_session=True,
            )
            status: int | None = None
            started = time.time()
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(LIMIT_S)
        after = time.time() - (struck.stat().st_mtime if struck.exists() else started)
        time.sleep(1.0 if status == 0 else 8.0)  # Ray's servers notice a killed driver within seconds
        alive = [each for each in psutil.process_iter() if temporary_folder(each) == str(own)]
        for each in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(alive)
        process.wait()
        killed = status is not None and status < 0
        left = len(alive) + (0 if killed else len(list(own.iterdir())))
        return Ended(status, after, printed.read_text(errors="replace"), left)


def temporary_folder(process: psutil.Process) -> str | None:
    try:
        found: str | None = process.environ().get("TMPDIR")
    except psutil.Error:
        return None
    return found


def inject_command(each: Try, train: Sequence[str]) -> list[str]:
    return [
        sys.executable,
        "-c",
        "from benchmarks.faults import injected; injected()",
        json.dumps(asdict(each)),
        *train,
    ]


def injected() -> None:
    """Runs in the driver: `rft` with a fault to come."""
    each = Try(**json.loads(sys.argv[1]))
    inject(each, lambda: strike(FAULTS[each.fault]))
    from rft.cli import main as rft

    sys.exit(rft(sys.argv[2:]))


def inject(each: Try, strike: Callable[[], None]) -> None:
    """Have `strike` called in a thread at a moment of a call that the seed decides."""
    from importlib import import_module

    module, owner_name, method = PLACES[each.place]
    owner = getattr(import_module(module), owner_name)
    original = getattr(owner, method)
    draw = random.Random(f"{each.place} {each.seed}")
    # The first call of each is of the setup, or takes longer.
    chosen = {"saving": draw.randint(1, 3), "evaluation": 2}.get(each.place) or draw.randint(3, STEPS - 1)
    share = draw.random()
    calls, last_s = 0, 0.1

    def watched(self: object, *args: Any, **keys: Any) -> Any:
        nonlocal calls, last_s
        calls += 1
        if calls == chosen:
            threading.Timer(share * last_s, strike).start()
        started = time.monotonic()
        try:
            return original(self, *args, **keys)
        finally:
            last_s = time.monotonic() - started

    setattr(owner, method, watched)


def strike(fault: Fault) -> None:
    """Send the signal to the target among this process and its descendants."""
    Path(os.environ["FAULT_STRUCK"]).touch()
    me = psutil.Process()
    if fault.target == "group":
        os.killpg(os.getpgrp(), fault.number)
    elif fault.target == "driver":
        me.send_signal(fault.number)
    else:
        found = me.children(recursive=True)
        targets = [*found, me] if fault.target == "run" else [p for p in found if called(p, fault.target)]
        if not targets:
            raise RuntimeError(f"there is no process {fault.target}")
        for process in targets:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(fault.number)


def called(process: psutil.Process, name: str) -> bool:
    with contextlib.suppress(psutil.Error):
        command = process.cmdline()
        return bool(command) and (command[0].startswith(name) or Path(command[0]).name == name)
    return False


def differences(run: RunDir, expected: RunDir) -> list[str]:
    """What is not equal: names of metrics with their first step, files of rollouts, evaluations and the policy."""
    found = []
    first: dict[str, int] = {}
    ours, theirs = seeded_metrics(run), seeded_metrics(expected)
    for step in sorted(ours.keys() | theirs.keys()):
        for name in sorted(ours[step].keys() | theirs[step].keys()):
            if ours[step].get(name) != theirs[step].get(name):
                first.setdefault(name, step)
    found += [f"{name} from step {step}" for name, step in first.items()]
    for folder in ("rollouts", "eval"):
        names = {path.name for each in (run, expected) for path in (each.path / folder).iterdir()}
        found += [
            f"{folder}/{name}"
            for name in sorted(names)
            if records(run, folder, name) != records(expected, folder, name)
        ]
    last = [each.checkpoint(STEPS) for each in (run, expected)]
    for name in ("policy/model.safetensors", "optimizer.safetensors"):
        if tensors(last[0] / name) != tensors(last[1] / name):
            found.append(name)
    return found


def seeded_metrics(run: RunDir) -> Mapping[int, dict[str, Any]]:
    steps: defaultdict[int, dict[str, Any]] = defaultdict(dict)
    for line in read_lines(run.metrics):
        if line["stage"] == "train":
            steps[line["step"]] |= {
                k: v for k, v in line.items() if k not in COUNTS | {"time"} and not k.startswith(COUNTED)
            }
    return steps


def records(run: RunDir, folder: str, name: str) -> list[Any] | None:
    path = run.path / folder / name
    return list(read_records(path)) if path.exists() else None


def tensors(path: Path) -> dict[str, bytes]:
    from safetensors.numpy import load_file

    return {name: tensor.tobytes() for name, tensor in load_file(path).items()}


def table(tried: Sequence[Mapping[str, Any]]) -> TextTable:
    """A row per fault and setting of `rollout.ahead`: how often it was tried, and how often the run was the same."""
    of: defaultdict[tuple[str, int], list[Mapping[str, Any]]] = defaultdict(list)
    for each in tried:
        of[each["fault"], each["ahead"]].append(each)
    rows = []
    for (fault, ahead), tries in of.items():
        equal = sum(not each["differs"] for each in tries)
        statuses = ", ".join(sorted({str(each["status"]) for each in tries}))
        places = ", ".join(place for place in PLACES if any(each["place"] == place for each in tries))
        slowest = max(each["ended_s"] for each in tries)
        left = sum(each["left"] for each in tries)
        rows.append((fault, str(ahead), places, str(len(tries)), str(equal), statuses, f"{slowest:.0f}", str(left)))
    columns = ("fault", "ahead", "while", "tries", "same run", "exit status", "longest end (s)", "left behind")
    return TextTable("Faults in a run, and whether it ends as the undisturbed one", columns, tuple(rows))


if __name__ == "__main__":
    main()
