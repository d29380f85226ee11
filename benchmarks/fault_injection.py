"""Faults of a run's processes, and the moment at which one strikes."""

import contextlib
import json
import random
import re
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done to a run, and to which of its processes."""

    name: str
    number: signal.Signals
    target: str
    """"driver", "run" (it and all it started), or a pattern that a process's name begins with."""


LEARNER = "ray::(LearnerRank|ColdStartRank)"

FAULTS = {
    fault.name: fault
    for fault in (
        Fault("kill run", signal.SIGKILL, "run"),
        Fault("kill driver", signal.SIGKILL, "driver"),
        Fault("kill learner", signal.SIGKILL, LEARNER),
        Fault("kill engine", signal.SIGKILL, "ray::RolloutWorker"),
        Fault("kill raylet", signal.SIGKILL, "raylet"),
        Fault("SIGTERM", signal.SIGTERM, "driver"),
        Fault("SIGTERM to all", signal.SIGTERM, "run"),
        Fault("hang engine", signal.SIGSTOP, "ray::RolloutWorker"),
        Fault("hang learner", signal.SIGSTOP, LEARNER),
    )
}


@dataclass(frozen=True, slots=True)
class Place:
    """A method of the driver, during one of whose calls a fault strikes."""

    module: str
    owner: str
    method: str
    calls: tuple[int, int]
    """The first and the last call that may be struck. The first ones are of the setup, or take longer."""


PLACES = {
    "cold start": Place("rft.actors.ranks", "Ranks", "call", (2, 7)),
    "sampling": Place("rft.rollout_batches", "RolloutBatches", "_sample", (3, 9)),
    "update": Place("rft.actors.learner", "LearnerActors", "update", (3, 9)),
    "hand-over": Place("rft.rollout.pool", "WorkerPool", "load_weights", (3, 9)),
    "saving": Place("rft.actors.learner", "LearnerActors", "save", (1, 3)),
    "evaluation": Place("rft.runs.evaluator", "Evaluator", "__call__", (2, 3)),
}


@dataclass(frozen=True, slots=True)
class Try:
    """One fault at one place of one run."""

    fault: str
    place: str
    ahead: int
    seed: int
    """Of the moment."""

    @property
    def name(self) -> str:
        return f"{self.fault} {self.place} ahead{self.ahead} {self.seed}".replace(" ", "_")

    def command(self, struck: Path, arguments: list[str]) -> list[str]:
        """`rft` with these arguments and this fault, which touches the file `struck`."""
        program = f"from {__name__} import run_with_fault; run_with_fault()"
        return [sys.executable, "-c", program, json.dumps(asdict(self)), str(struck), *arguments]


def run_with_fault() -> None:
    """The driver of `Try.command`."""
    attempt, struck = Try(**json.loads(sys.argv[1])), Path(sys.argv[2])

    def strike_here() -> None:
        struck.touch()
        strike(FAULTS[attempt.fault], psutil.Process())

    place = PLACES[attempt.place]
    inject(getattr(import_module(place.module), place.owner), place, attempt.seed, strike_here)
    sys.argv[1:] = sys.argv[3:]
    runpy.run_module("rft", run_name="__main__")


def inject(owner: type, place: Place, seed: int, strike: Callable[[], None]) -> None:
    """Have `strike` called by a thread during one call of the place's method, at a moment that the seed decides."""
    original = getattr(owner, place.method)
    draw = random.Random(f"{place.method} {seed}")
    chosen, share = draw.randint(*place.calls), draw.random()
    num_calls, last_s = 0, 0.1

    def watched(*args: Any, **keys: Any) -> Any:
        nonlocal num_calls, last_s
        num_calls += 1
        if num_calls == chosen:
            threading.Timer(share * last_s, strike).start()
        began = time.monotonic()
        try:
            return original(*args, **keys)
        finally:
            last_s = time.monotonic() - began

    setattr(owner, place.method, watched)


def strike(fault: Fault, driver: psutil.Process) -> int:
    """Send the fault's signal to the processes it is for; returns how many there are."""
    family = [*driver.children(recursive=True), driver]
    targets = {"driver": [driver], "run": family}.get(fault.target)
    if targets is None:
        targets = [process for process in family if is_called(process, fault.target)]
    for process in targets:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(fault.number)
    return len(targets)


def is_called(process: psutil.Process, pattern: str) -> bool:
    """Whether this is a process of Ray of such a name: its own servers are files, actors put theirs in front."""
    with contextlib.suppress(psutil.Error):
        program, *_ = [*process.cmdline(), ""]
        return bool(re.match(pattern, program) or re.fullmatch(pattern, Path(program).name))
    return False
