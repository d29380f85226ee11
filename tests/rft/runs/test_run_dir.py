"""The run folder: who may write it, where it resumes, what is cut."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from checkpoints import save_checkpoint

from rft.errors import CheckpointError
from rft.files import read_lines, write_text
from rft.recipe import Recipe
from rft.runs.checkpoint import TrainState
from rft.runs.metrics import read_metrics
from rft.runs.run_dir import RunDir


def recipe(**keys: object) -> Recipe:
    return Recipe.model_validate(
        {"model": "m", "tasks": {"tracking": {}}, "data": {"train": ["rows.jsonl"]}, "steps": 5, **keys}
    )


def checkpoint(run: RunDir, step: int) -> None:
    state = TrainState(step=step, data_position=8 * step, seed=0, policy_version=step)
    save_checkpoint(run, step, lambda folder: write_text(folder / "model", "weights"), state, keep=9)


def record(run: RunDir, step: int) -> None:
    for path in (run.rollouts_file(step), run.eval_file(step)):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    with run.metrics.open("a") as file:
        file.write(json.dumps({"stage": "train", "step": step, "reward": step / 10}) + "\n")


def test_fresh_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "runs" / "a", resume=False)
    assert run.rollouts_file(12) == tmp_path / "runs/a/rollouts/step_000012.jsonl.zst"
    assert run.checkpoint(100) == tmp_path / "runs/a/checkpoints/step_000100"
    assert run.eval_file("final").name == "final.jsonl.zst"
    assert run.latest_checkpoint() is None


def test_folder_of_another_run_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(CheckpointError, match=r"already holds metrics.jsonl.*--resume.*run_dir="):
        RunDir.create(tmp_path, resume=False)
    assert (tmp_path / "metrics.jsonl").exists()


def test_run_that_failed_before_its_first_result_may_start_again(tmp_path: Path) -> None:
    first = RunDir.create(tmp_path, resume=False)
    first.write_recipe(recipe())
    first.clips.mkdir()
    first.release()
    RunDir.create(tmp_path, resume=False)


@pytest.mark.parametrize("resume", [False, True])
def test_unwritable_run_folder(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match=r"file/run: cannot be written: Not a directory.*run_dir"):
        RunDir.create(tmp_path / "file" / "run", resume)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_run_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(CheckpointError, match="Permission denied"):
        RunDir.create(tmp_path / "run", resume=False)


def test_two_runs_cannot_share_a_folder(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, resume=False)
    other = f"""
from pathlib import Path
from rft.errors import CheckpointError
from rft.runs.run_dir import RunDir
try:
    RunDir.create(Path({str(tmp_path)!r}), resume=True)
except CheckpointError as error:
    print(error)
else:
    print("shared")
"""

    def attempt() -> str:
        return subprocess.run([sys.executable, "-c", other], capture_output=True, text=True, check=True).stdout

    assert f"process {os.getpid()} is writing a run here" in attempt()
    run.release()
    assert attempt() == "shared\n"


def test_resume_cuts_the_record_after_the_last_complete_checkpoint(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, resume=False)
    for step in range(1, 8):
        record(run, step)
    run.eval_file("cold_start").write_bytes(b"")
    checkpoint(run, 3)
    checkpoint(run, 5)
    run.checkpoint(7).mkdir()  # no state file: not complete
    (run.checkpoints / ".partial_step_000006").mkdir()
    with run.metrics.open("a") as file:
        file.write('{"stage": "cold_start", "step": 40, "loss": 1.0}\n{"stage": "train", "st')
    run.release()

    resumed = RunDir.create(tmp_path, resume=True)
    assert resumed.latest_checkpoint() == run.checkpoint(5)
    assert list(read_metrics(resumed)) == [1, 2, 3, 4, 5]
    assert read_metrics(resumed, "cold_start") == {40: {"loss": 1.0}}
    assert sorted(p.name for p in resumed.rollouts.iterdir()) == [f"step_{i:06d}.jsonl.zst" for i in range(1, 6)]
    assert resumed.eval_file(5).exists()
    assert resumed.eval_file("cold_start").exists()
    assert not resumed.eval_file(6).exists()
    assert sorted(p.name for p in resumed.checkpoints.iterdir()) == ["step_000003", "step_000005", "step_000007"]


def test_resume_forgets_the_final_evaluation(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, resume=False)
    for name in ("cold_start", "final"):
        run.evals.mkdir(exist_ok=True)
        run.eval_file(name).write_bytes(b"")
        run.add_to_summary("eval", {name: {}})
    run.add_to_summary("change", {"tracking": {}})
    checkpoint(run, 2)
    run.release()
    resumed = RunDir.create(tmp_path, resume=True)
    assert resumed.eval_file("cold_start").exists()
    assert not resumed.eval_file("final").exists()
    assert resumed.read_summary() == {"eval": {"cold_start": {}}}


def test_resume_without_a_checkpoint_begins_anew(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, resume=False)
    record(run, 1)
    for stage in ("train", "cold_start"):
        (run.tensorboard / stage).mkdir(parents=True)
    run.cut_after(0)
    assert len(list(run.tensorboard.iterdir())) == 2, "a tracker of this run may write there"
    run.release()
    assert read_metrics(RunDir.create(tmp_path, resume=True)) == {}
    assert [p.name for p in run.tensorboard.iterdir()] == ["cold_start"]


def test_damaged_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"a": 1}\nbroken\n{"a": 2}\n')
    with pytest.raises(CheckpointError, match=r"m.jsonl:2: not JSON"):
        list(read_lines(tmp_path / "m.jsonl"))


@pytest.mark.parametrize("tail", [b"\xff\xfe", b'{"a": "\xc3', b"\0" * 300, b'{"a": 3'])
def test_an_unfinished_last_line_is_no_line(tmp_path: Path, tail: bytes) -> None:
    file = tmp_path / "m.jsonl"
    file.write_bytes(b'{"a": 1}\n{"a": 2}\n' + tail)
    assert list(read_lines(file)) == [{"a": 1}, {"a": 2}]
    file.write_bytes(b'{"a": 1}\n' + tail + b'\n{"a": 2}\n')
    with pytest.raises(CheckpointError, match=r"m.jsonl:2: not JSON"):
        list(read_lines(file))


def test_stored_recipe_loads_again_and_shows_changes(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert run.recipe_changes(recipe()) == ()
    run.write_recipe(recipe(learner={"learning_rate": 1e-6}))
    assert run.recipe_changes(recipe(learner={"learning_rate": 1e-6})) == ()
    changed = recipe(steps=9, learner={"learning_rate": 2e-6})
    assert run.recipe_changes(changed) == ("learner.learning_rate: 1e-06 -> 2e-06", "steps: 5 -> 9")


def test_summary_grows_by_sections(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert run.read_summary() == {}
    run.add_to_summary("eval", {"cold_start": {"tracking": {"rows": 3}}})
    run.add_to_summary("eval", {"final": {}})
    run.add_to_summary("seconds", {"rollout": 1.5})
    assert json.loads(run.summary.read_text()) == {
        "eval": {"cold_start": {"tracking": {"rows": 3}}, "final": {}},
        "seconds": {"rollout": 1.5},
    }
    run.summary.write_text("{")
    with pytest.raises(CheckpointError, match="not JSON"):
        run.read_summary()


def test_versions_name_what_decides_results(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.write_versions(device="none")
    versions = json.loads(run.versions.read_text())
    assert versions["python"].startswith("3.")
    assert versions["device"] == "none"
    assert versions["torch"] != "not installed"


def test_failed_write_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    write_text(tmp_path / "f", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "f", "\ud800")
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_text() == "old"
