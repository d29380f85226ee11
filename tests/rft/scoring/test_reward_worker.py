"""The process that judges: what it starts, survives and leaves behind."""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from odd_rewards import fine, odd

from rewards.targets.choice import ChoiceTarget
from rewards.types import Score
from rft.errors import RewardError
from rft.scoring.reward_worker import RewardWorker

TARGET = ChoiceTarget("B")


def load_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def worker() -> Iterator[RewardWorker]:
    worker = RewardWorker()
    yield worker
    worker.child.close()


def test_what_a_reward_started_ends_with_it(worker: RewardWorker, tmp_path: Path) -> None:
    (outcome,) = worker.judge(odd, [f"start {tmp_path / 'pid'}"], TARGET, {}, 1.0)
    assert "took longer" in str(outcome)
    assert ends_within(int((tmp_path / "pid").read_text()), 60.0)


def test_one_process_serves_all_groups_until_it_hangs() -> None:
    worker = RewardWorker()
    for _ in range(3):
        for fn in (odd, fine):
            worker.judge(fn, ["ok"], TARGET, {}, 20.0)
    assert worker.child.num_starts == 1
    worker.judge(odd, ["sleep"], TARGET, {}, 0.2)
    worker.judge(odd, ["ok"], TARGET, {}, 20.0)
    assert worker.child.num_starts == 2
    worker.child.close()


def test_a_file_that_cannot_be_imported_is_named(worker: RewardWorker, tmp_path: Path) -> None:
    path = tmp_path / "fragile_reward.py"
    path.write_text("def fragile(completion, target): ...\n")
    fragile = load_file(path).fragile
    path.write_text("raise OSError('no licence')\n")
    with pytest.raises(RewardError, match="reward fragile: cannot be imported: OSError: no licence"):
        worker.judge(fragile, ["x"], TARGET, {}, 20.0)
    assert worker.judge(fine, ["x"], TARGET, {}, 20.0) == (Score(0.5, "x", "fine"),)


SCRIPT = """
import sys, threading, time
from rewards.targets.choice import ChoiceTarget
from rewards.types import Score
from rft.scoring.reward_worker import RewardWorker, shared_worker

def own(completion, target):
    while completion == "loop":
        pass
    return Score(1.0, completion, __name__)

def judge(worker, texts):
    return worker.judge(own, texts, ChoiceTarget("B"), {}, 0.5)

"""


JUDGES_TWICE = """
    print(judge(shared_worker(), ["x", "loop"]))
    print(judge(shared_worker(), ["x"]), shared_worker().child.pid)
"""


IS_KILLED = """
    worker = RewardWorker()
    threading.Thread(target=judge, args=(worker, ["loop"]), daemon=True).start()
    while worker.child.pid is None:
        time.sleep(0.01)
    print(worker.child.pid, flush=True)
    time.sleep(60)
"""


def script(folder: Path, text: str) -> "subprocess.Popen[str]":
    path = folder / "script.py"
    path.write_text(SCRIPT + text)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, str(path)], env=env, stdout=pipe, stderr=pipe, text=True)


def test_a_plain_script_leaves_no_process_behind(tmp_path: Path) -> None:
    with script(tmp_path, "if __name__ == '__main__':" + JUDGES_TWICE) as process:
        out, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    hung, judged = out.splitlines()
    assert "took longer than 0.5 s" in hung
    assert judged.startswith("(Score(value=1.0, answer='x', note='reward_script', fault=None),)")
    assert not Path(f"/proc/{judged.split()[-1]}").exists()


def test_a_script_without_a_main_guard_is_an_error(tmp_path: Path) -> None:
    with script(tmp_path, "if True:" + JUDGES_TWICE) as process:
        _, errors = process.communicate(timeout=30)
    assert "put the script's own work under `if __name__ == '__main__':`" in errors


def test_the_process_ends_after_its_parent_was_killed(tmp_path: Path) -> None:
    with script(tmp_path, "if __name__ == '__main__':" + IS_KILLED) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        time.sleep(0.2)
        process.kill()
    assert ends_within(child, 60.0)


def ends_within(pid: int, limit_s: float) -> bool:
    """An orphan may stay a zombie where nothing adopts it; that is an end too."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False
