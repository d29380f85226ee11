"""Trackers: the real libraries keep what a run gives them, on disk; one that fails or hangs stops nothing."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import IMAGES, SCALARS, TENSORS, EventAccumulator

from rewards.targets.choice import ChoiceTarget
from rewards.types import Score
from rft.data.frames import Frames
from rft.recipe import Recipe
from rft.recipe.watch import TrackerName
from rft.runs.run_dir import RunDir
from rft.runs.trackers.background import Channel, Trackers, best_and_worst, side_by_side
from rft.runs.trackers.mlflow import allowed
from rft.runs.trackers.tracker import ShownRollout, Stage, TrackedRun, Tracker
from rft.tables import TextTable
from rft.types import Completion, Group, Image, Media, Prompt, Rollout

TABLE = TextTable("Held-out rows", ("task", "greedy"), (("tracking", "0.5 -> 0.6"),))
PIXELS = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)


def recipe(*trackers: str) -> Recipe:
    return Recipe.model_validate(
        {"model": "policy", "tasks": {"tracking": {}}, "data": {"train": ["r.jsonl"]}, "steps": 3, "trackers": trackers}
    )


def group(prompt_id: str, *rewards: float, task: str = "tracking", media: Media | None = None) -> Group:
    completion = Completion("<answer>B</answer>", (1,), (0.0,), 5, "stop", 0)
    rollouts = [Rollout(completion, {"accuracy": Score(reward, "B", "not A")}, reward) for reward in rewards]
    return Group(Prompt(prompt_id, task, "Which?", media, ChoiceTarget("A")), tuple(rollouts))


def frames_of(media: Media) -> Frames:
    return Frames(PIXELS, (0.0, 1.0), (0, 1), 1.0, 2, 2.0, "key")


def a_run(trackers: Trackers) -> dict[str, object]:
    """Curves of both stages, a resume after step 1, rollouts with and without a picture, the closing table."""
    trackers.log_metrics("cold_start", 1, {"loss": 2.0})
    for step in (1, 2, 3):
        trackers.log_metrics("train", step, {"reward": 0.1 * step, "eval/tracking/greedy/R@0.5 (all)": float("nan")})
    trackers.cut_after(1)
    trackers.log_metrics("train", 2, {"reward": 0.9})
    trackers.log_rollouts(2, [group("p1", 0.25, 1.0, media=Image(Path("a.jpg"), 1, 2)), group("p2", 0.0)])
    trackers.log_table(TABLE)
    return trackers.close(timeout_s=240.0)


class Kept:
    """A tracker that keeps the names of its calls, and fails in those of `failing`."""

    def __init__(self, failing: Sequence[str] = ()) -> None:
        self.failing, self.calls = failing, list[str]()

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.failing:
            raise OSError(f"no network for {name}")

    def log_metrics(self, stage: Stage, step: int, values: Mapping[str, float]) -> None:
        self._call(f"{stage} {step}")

    def cut_after(self, step: int) -> None:
        self._call(f"cut {step}")

    def log_rollouts(self, step: int, rollouts: Sequence[ShownRollout]) -> None:
        self._call(f"rollouts {step}: {', '.join(rollout.name for rollout in rollouts)}")

    def log_table(self, table: TextTable) -> None:
        self._call(table.title)

    def close(self) -> None:
        self._call("close")


ALL_CALLS = [
    *("cold_start 1", "train 1", "train 2", "train 3", "cut 1", "train 2"),
    *("rollouts 2: best/tracking, worst/tracking", "Held-out rows", "close"),
]


def test_a_tracker_that_fails_is_told_of_once_and_others_get_all(tmp_path: Path) -> None:
    parts = {"wandb": Kept(failing=("train 2", "Held-out rows", "close")), "trackio": Kept()}
    notes: list[str] = []

    def open_tracker(name: TrackerName, run: TrackedRun) -> Tracker:
        if name == "mlflow":
            raise ModuleNotFoundError("No module named 'mlflow'")
        return parts[name]

    used = recipe("wandb", "mlflow", "trackio")
    assert a_run(Trackers(used, RunDir(tmp_path), frames_of, notes.append, open_tracker)) == {
        "wandb": {"problem": "OSError: no network for train 2", "failed": 4, "dropped": 0},
        "mlflow": {"problem": "ModuleNotFoundError: No module named 'mlflow'", "failed": 8, "dropped": 0},
    }
    assert parts["wandb"].calls == parts["trackio"].calls == ALL_CALLS
    assert sorted(notes) == [
        "tracker mlflow: ModuleNotFoundError: No module named 'mlflow'. "
        "The run goes on; summary.json counts what it misses",
        "tracker wandb: OSError: no network for train 2. The run goes on; summary.json counts what it misses",
    ]


def test_a_tracker_that_hangs_holds_up_nothing() -> None:
    notes: list[str] = []
    began, free = threading.Event(), threading.Event()

    def hang(tracker: Tracker) -> None:
        began.set()
        free.wait(60)

    channel = Channel("wandb", Kept, notes.append, queue_size=2)
    channel.put(hang)
    assert began.wait(60)
    for _ in range(5):
        channel.put(lambda tracker: None)
    assert channel.num_dropped == 3
    channel.close(timeout_s=0.01)
    assert channel.problem == "2 calls wait for it; further ones are dropped"
    assert len(notes) == 1
    free.set()


def test_an_unknown_library_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "swanlab", None)
    missed = a_run(Trackers(recipe("swanlab"), RunDir(tmp_path), frames_of, lambda text: None))
    assert "the extra [swanlab] installs it" in str(missed["swanlab"])


def test_best_and_worst_rollouts_of_each_task() -> None:
    groups = [group("a", 0.5, 0.0), group("b", 1.0, 0.0), group("c", 0.2, task="multiple_choice")]
    assert [(name, prompt.prompt_id, rollout.reward) for name, prompt, rollout in best_and_worst(groups)] == [
        ("best/tracking", "b", 1.0),
        ("worst/tracking", "a", 0.0),
        ("best/multiple_choice", "c", 0.2),
        ("worst/multiple_choice", "c", 0.2),
    ]


def test_a_picture_holds_frames_from_first_to_last() -> None:
    pixels = np.arange(15, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 3, 3), np.uint8)
    picture = side_by_side(pixels)
    assert picture.shape == (2, 8 * 3, 3)
    assert picture[0, ::3, 0].tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
    assert side_by_side(PIXELS).tolist() == np.concatenate([PIXELS[0], PIXELS[1]], axis=1).tolist()


def test_tensorboard(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert a_run(Trackers(recipe("tensorboard"), run, frames_of, pytest.fail)) == {}
    events = EventAccumulator(str(run.tensorboard / "train"), size_guidance={SCALARS: 0, IMAGES: 0, TENSORS: 0})
    events.Reload()
    assert [(event.step, round(event.value, 4)) for event in events.Scalars("reward")] == [(1, 0.1), (2, 0.9)]
    (image,) = events.Images("rollouts/best/tracking")
    assert (image.step, image.width, image.height) == (2, 12, 4)
    assert events.Tags()["images"] == ["rollouts/best/tracking"]
    text = events.Tensors("rollouts/best/tracking")[0].tensor_proto.string_val[0].decode()
    assert "p1: reward 1.000" in text
    assert "accuracy 1.000: not A" in text
    assert "tracking  0.5 -> 0.6" in events.Tensors("Held-out rows")[0].tensor_proto.string_val[0].decode()
    stored = events.Tensors("recipe")[0].tensor_proto.string_val[0].decode()
    assert yaml.safe_load(stored)["trackers"] == ["tensorboard"]
    cold = EventAccumulator(str(run.tensorboard / "cold_start"))
    cold.Reload()
    assert [event.value for event in cold.Scalars("loss")] == [2.0]


def test_a_disk_that_refuses_is_a_problem_of_the_tracker_alone(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("in the way")
    missed = a_run(Trackers(recipe("tensorboard"), RunDir(tmp_path), frames_of, lambda text: None))
    assert list(missed) == ["tensorboard"]


def test_names_that_mlflow_takes() -> None:
    assert allowed("eval/a.b (tracking)/greedy/R@0.5") == "eval/a.b _tracking_/greedy/R_0.5"


def kept_by_wandb(run: RunDir) -> None:
    (folder,) = (run.trackers / "wandb" / "wandb").glob("offline-run-*")
    (stored,) = folder.glob("*.wandb")
    content = stored.read_bytes()
    expected = ("cold_start/loss", "reward", "R@0.5 (all)", "rollouts/best/tracking", "max_bad_share", "Held-out rows")
    assert [name for name in expected if name.encode() not in content] == []
    (text,) = folder.rglob("*.html")
    assert "-&gt; &lt;answer&gt;B&lt;/answer&gt;" in text.read_text()
    (picture,) = folder.rglob("*.png")
    assert picture.stat().st_size > 0


def kept_by_mlflow(run: RunDir) -> None:
    from mlflow import MlflowClient

    folder = run.trackers / "mlflow"
    client = MlflowClient(f"sqlite:///{folder.resolve()}/mlflow.db")
    run_id = (folder / "run_id").read_text()
    rewards = client.get_metric_history(run_id, "reward")
    assert [(one.step, round(one.value, 4)) for one in rewards] == [(1, 0.1), (2, 0.2), (3, 0.3), (2, 0.9)]
    stored = client.get_run(run_id)
    assert stored.info.status == "FINISHED"
    assert stored.data.metrics["cold_start/loss"] == 2.0
    assert stored.data.params["data.max_bad_share"] == "0.01"
    best = "rollouts/step_000002/best"
    assert sorted(file.path for file in client.list_artifacts(run_id, best)) == [
        f"{best}/tracking.png",
        f"{best}/tracking.txt",
    ]
    assert [file.path for file in client.list_artifacts(run_id) if not file.is_dir] == ["Held-out rows.txt"]


def kept_by_trackio(run: RunDir) -> None:
    (stored,) = (run.path.parent / "trackio").glob("rft*.db")
    with closing(sqlite3.connect(stored)) as database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        lines = str([database.execute(f"select * from {table}").fetchall() for table in tables])
    expected = ("cold_start/loss", "reward", "R@0.5 (all)", "rollouts/best/tracking", "max_bad_share", "Held-out rows")
    assert [name for name in expected if name not in lines] == []
    assert list(stored.parent.rglob("*.png"))


def kept_by_swanlab(run: RunDir) -> None:
    assert [path for path in (run.trackers / "swanlab").rglob("*") if path.is_file()]


KEPT: dict[str, Callable[[RunDir], None]] = {
    "wandb": kept_by_wandb,
    "mlflow": kept_by_mlflow,
    "trackio": kept_by_trackio,
    "swanlab": kept_by_swanlab,
}

ALONE = f"""
import sys
from pathlib import Path
sys.path[:0] = [{str(Path(__file__).parent)!r}]
import test_trackers as tests
from rft.runs.run_dir import RunDir
run = RunDir(Path(sys.argv[2]))
missed = tests.a_run(tests.Trackers(tests.recipe(sys.argv[1]), run, tests.frames_of, print))
assert missed == {{}}, missed
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", KEPT)
def test_a_library_keeps_the_run_without_a_network(name: str, tmp_path: Path) -> None:
    pytest.importorskip(name, reason=f"the extra [{name}] is not installed")
    ours = [key for key in os.environ if key.startswith(("WANDB_", "MLFLOW_", "TRACKIO_", "SWANLAB_"))]
    home = {"HOME": str(tmp_path), "TRACKIO_DIR": str(tmp_path / "trackio"), "HF_HUB_OFFLINE": "1"}
    environment = {key: value for key, value in os.environ.items() if key not in ours} | home
    command = [sys.executable, "-c", ALONE, name, str(tmp_path / "run")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    KEPT[name](RunDir(tmp_path / "run"))  # after its process: wandb's own may write until then
