"""What the benchmarks of faults inject, compare and count; that they run is for a person to see."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from safetensors.numpy import save_file

from benchmarks import faults, soak
from benchmarks.compared_runs import differences, end_of, end_processes_of, prompt_differences
from benchmarks.fault_injection import FAULTS, PLACES, Fault, Place, Try, inject, is_called, strike
from rft.files import write_records
from rft.runs.run_dir import RunDir


def test_every_place_is_there() -> None:
    from importlib import import_module

    for place in PLACES.values():
        assert callable(getattr(getattr(import_module(place.module), place.owner), place.method))


def test_a_fault_strikes_in_the_chosen_call_and_never_again() -> None:
    struck, during = threading.Event(), []

    class Worker:
        calls = 0

        def work(self) -> int:
            self.calls += 1
            if self.calls == 2:
                assert struck.wait(30)
                during.append(self.calls)
            return self.calls

    inject(Worker, Place("", "", "work", (2, 2)), 0, struck.set)
    worker = Worker()
    assert [worker.work() for _ in range(4)] == [1, 2, 3, 4]
    assert during == [2]


def test_signals_go_to_the_processes_they_are_for() -> None:
    # It outlives its child, which is killed first.
    script = "import subprocess, time; subprocess.run(['sleep', '600']); time.sleep(600)"
    driver = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    family = psutil.Process(driver.pid)
    while not family.children():
        assert driver.poll() is None
    (child,) = family.children()
    while child.cmdline()[:1] != ["sleep"]:  # it is a copy of its parent until it runs the program
        assert driver.poll() is None
    assert (is_called(child, "sleep"), is_called(child, "raylet"), is_called(family, "sleep")) == (True, False, False)
    assert strike(FAULTS["kill raylet"], family) == 0
    assert strike(FAULTS["kill run"], family) == 2
    assert driver.wait(30) == -signal.SIGKILL
    assert psutil.wait_procs([child], timeout=30)[1] == []


def run_folder(path: Path, loss: float, reward: float, weight: float) -> RunDir:
    run = RunDir(path)
    run.rollouts.mkdir(parents=True)
    run.evals.mkdir()
    (run.checkpoint(1) / "policy").mkdir(parents=True)
    lines: list[dict[str, Any]] = [
        {"stage": "train", "step": 1, "time": os.urandom(2).hex(), "loss": loss, "seconds/update": loss},
        {"stage": "train", "step": 1, "time": 0.0, "eval/x": 1.0},
    ]
    run.metrics.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    write_records(run.rollouts_file(1), [{"reward": reward}])
    for name in ("policy/model.safetensors", "optimizer.safetensors"):
        save_file({"weight": np.full(3, weight if name.startswith("policy") else 0.0)}, run.checkpoint(1) / name)
    return run


def test_runs_are_compared_in_all_that_is_seeded(tmp_path: Path) -> None:
    one = run_folder(tmp_path / "one", 0.5, 1.0, 2.0)
    assert differences(run_folder(tmp_path / "same", 0.5, 1.0, 2.0), one, 1) == []
    other = run_folder(tmp_path / "other", 0.25, 0.0, 3.0)
    assert differences(other, one, 1) == [
        "loss from step 1",
        "rollouts/step_000001.jsonl.zst",
        "policy/model.safetensors",
    ]
    write_records(other.eval_file("final"), [])
    assert "eval/final.jsonl.zst" in differences(other, one, 1)


def test_partial_rollouts_are_compared_in_their_prompts(tmp_path: Path) -> None:
    runs = {name: RunDir(tmp_path / name) for name in ("one", "same", "fewer")}
    for name, ids in (("one", "aabb"), ("same", "abab"), ("fewer", "aab")):
        runs[name].rollouts.mkdir(parents=True)
        for step in (1, 2):
            write_records(runs[name].rollouts_file(step), [{"prompt_id": one} for one in (ids if step == 1 else "cc")])
    assert prompt_differences(runs["same"], runs["one"], 2) == []
    assert prompt_differences(runs["fewer"], runs["one"], 2) == ["prompts of step 1"]
    runs["same"].rollouts_file(2).unlink()
    assert prompt_differences(runs["same"], runs["one"], 2) == ["prompts of step 2"]


def test_what_a_command_leaves_is_named_and_ended(tmp_path: Path) -> None:
    script = "import subprocess, tempfile; tempfile.mkstemp(prefix='left'); subprocess.Popen(['sleep', '600'])"
    end = end_of([sys.executable, "-c", script])
    assert (end.status, end.left[0], end.left[1][:4]) == (0, "sleep", "left")
    assert end_processes_of(tmp_path) == ()


def test_a_row_counts_the_tries_of_a_fault() -> None:
    def tried(place: str, ahead: int, status: int | None, differs: list[str], left: list[str]) -> dict[str, Any]:
        of = {"fault": "kill learner", "place": place, "ahead": ahead, "seconds": 12.3}
        return of | {"status": status, "differs": differs, "left": left}

    shown = faults.table(
        [
            tried("update", 0, 0, [], []),
            tried("saving", 0, 2, ["loss from step 3"], ["raylet"]),
            tried("saving", 1, None, [], []),
        ]
    )
    assert shown.rows == (
        ("kill learner", "0", "update, saving", "2", "1", "1", "0, 2", "12", "raylet"),
        ("kill learner", "1", "saving", "1", "1", "0", "hangs", "12", "nothing"),
    )
    assert not faults.can_be_tried(Try("kill run", "cold start", 1, 0))
    assert faults.can_be_tried(Try("kill run", "cold start", 0, 0))


def test_a_command_is_started_again_after_a_fault_until_it_ends_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soak, "SAMPLE_EVERY_S", 0.2)
    monkeypatch.setattr(soak, "FAULTS", {"kill run": FAULTS["kill run"]})
    done, struck = tmp_path / "done", []

    def strike_once_it_sleeps(fault: Fault, driver: psutil.Process) -> int:
        if struck or not done.exists():
            return 0
        struck.append(fault)
        return strike(fault, driver)

    monkeypatch.setattr(soak, "strike", strike_once_it_sleeps)
    script = f"import pathlib, time; p = pathlib.Path({str(done)!r}); p.exists() or (p.touch(), time.sleep(600))"
    found = soak.under_faults([sys.executable, "-c", script], 0.1, random.Random(0))
    assert (found.faults["kill run"], found.num_resumes) == (1, 1)
    assert found.samples[0].processes == 1
    assert found.samples[0].open_files >= 3
    with pytest.raises(RuntimeError, match="ends with status 3 without a fault"):
        soak.under_faults([sys.executable, "-c", "raise SystemExit(3)"], 600, random.Random(0))


def test_no_fault_comes_again_before_all_others_came() -> None:
    coming = soak.in_turn(random.Random(0))
    rounds = [[next(coming).name for _ in FAULTS] for _ in range(3)]
    assert [sorted(names) for names in rounds] == [sorted(FAULTS)] * 3
    assert rounds[0] != rounds[1]


def test_quarters_of_a_soak_show_what_grows() -> None:
    samples = tuple(soak.Sample(float(i), 1, 100.0 * i, 5, 0.0, 2) for i in range(8))
    shown = soak.table(soak.Soak(samples, Counter({"kill run": 3}), 2))
    assert [row[:3] for row in shown.rows] == [
        ("1", "1", "50"),
        ("3", "1", "250"),
        ("5", "1", "450"),
        ("7", "1", "650"),
    ]
    assert shown.title == "3 faults, 2 resumes"
