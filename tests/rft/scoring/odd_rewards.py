"""Rewards that misbehave when a completion tells them to."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

from rewards.targets.choice import ChoiceTarget
from rewards.types import Score

HANGS = {"loop", "sleep", "regex", "deaf"}
"""What never ends, or too late."""

MEETING = threading.Barrier(8)


def fine(completion: str, target: ChoiceTarget, *, value: float = 0.5) -> Score:
    return Score(value, completion, "fine")


def side_by_side(completion: str, target: ChoiceTarget, *, concurrency: int = 2) -> Score:
    return odd(completion, target)


def odd(completion: str, target: ChoiceTarget) -> Score:
    if completion == "raise":
        raise ValueError("no such thing")
    if completion == "exit":
        sys.exit(3)
    if completion == "die":
        os._exit(7)
    if completion == "loop":
        while True:
            pass
    if completion == "sleep":
        time.sleep(60)
    if completion == "meet":
        MEETING.wait()
    if completion == "regex":
        re.fullmatch(r"(a+)+b", "a" * 64)
    if completion == "deaf":
        signal.setitimer(signal.ITIMER_REAL, 0)
        time.sleep(60)
    if completion == "print":
        print("a line that is no message")
    if completion == "child":
        subprocess.run([sys.executable, "-c", ""], check=True)
    if completion.startswith("start "):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        Path(completion.removeprefix("start ")).write_text(str(child.pid))
        child.wait()
    odd_values = {"nan": float("nan"), "two": 2.0, "minus": -0.1, "text": "1", "fraction": Fraction(1, 4)}
    if completion == "none":
        return None  # type: ignore[return-value]
    if completion == "number":
        return 1.0  # type: ignore[return-value]
    return Score(odd_values.get(completion, 1.0), completion, "odd")  # type: ignore[arg-type]
