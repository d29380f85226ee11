"""Checkpoints are whole or not there, whatever the disk does."""

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from checkpoints import save_checkpoint
from safetensors.numpy import save_file

from rft.errors import CheckpointError
from rft.runs.checkpoint import (
    DIGESTS_NAME,
    TrainState,
    begin_checkpoint,
    check_digests,
    load_state,
)
from rft.runs.run_dir import STATE_NAME, RunDir


def state(step: int) -> TrainState:
    return TrainState(step=step, data_position=10 * step, seed=3, policy_version=step, bad={"p1": "truncated"})


def small(folder: Path) -> None:
    (folder / "policy").mkdir()
    (folder / "policy" / "model").write_text("weights")


def large_file(folder: Path) -> None:
    (folder / "first").write_text("fits")
    (folder / "model").write_bytes(b"0" * 200_000)


def large_tensors(folder: Path) -> None:
    save_file({"weight": np.zeros(100_000, np.float32)}, folder / "model.safetensors")


@contextmanager
def limited_file_size(num_bytes: int) -> Iterator[None]:
    """The system refuses larger files, as it refuses any on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names(run: RunDir) -> list[str]:
    return sorted(path.name for path in run.checkpoints.iterdir())


def test_state_comes_back(tmp_path: Path) -> None:
    saved = save_checkpoint(RunDir(tmp_path), 4, small, state(4), keep=1)
    assert saved == tmp_path / "checkpoints" / "step_000004"
    assert (saved / "policy" / "model").read_text() == "weights"
    assert load_state(saved) == state(4)


def test_only_the_last_ones_are_kept(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    for step in (9, 10, 100, 101):
        save_checkpoint(run, step, small, state(step), keep=2)
    assert names(run) == ["step_000100", "step_000101"]
    assert run.latest_checkpoint() == run.checkpoint(101)


@pytest.mark.parametrize("name", ["policy/model", STATE_NAME, DIGESTS_NAME])
def test_a_file_that_is_not_as_saved_is_named_with_what_to_do(tmp_path: Path, name: str) -> None:
    saved = save_checkpoint(RunDir(tmp_path), 4, small, state(4), keep=1)
    content = (saved / name).read_bytes()
    (saved / name).write_bytes(content.replace(b"4", b"5").replace(b"w", b"v").replace(b"}", b"]"))
    assert (saved / name).read_bytes() != content
    with pytest.raises(CheckpointError, match=rf"step_000004/{name}: .*Delete .*this checkpoint|Delete .*step_000004"):
        load_state(saved)
    (saved / name).write_bytes(content)
    assert load_state(saved) == state(4)


def test_a_file_that_went_missing_is_named_and_older_checkpoints_are_read(tmp_path: Path) -> None:
    saved = save_checkpoint(RunDir(tmp_path), 4, small, state(4), keep=1)
    (saved / "policy" / "model").unlink()
    with pytest.raises(CheckpointError, match=r"step_000004/policy/model: is missing. Delete .*step_000004 to resume"):
        load_state(saved)
    (saved / DIGESTS_NAME).unlink()
    assert load_state(saved) == state(4)


@pytest.mark.parametrize("write", [large_file, large_tensors])
def test_full_disk_leaves_the_last_good_checkpoint(tmp_path: Path, write: object) -> None:
    run = RunDir(tmp_path)
    save_checkpoint(run, 1, small, state(1), keep=1)
    with limited_file_size(50_000), pytest.raises(CheckpointError) as caught:
        save_checkpoint(run, 2, write, state(2), keep=1)  # type: ignore[arg-type]
    assert names(run) == ["step_000001"]
    assert load_state(run.checkpoint(1)) == state(1)
    for part in ("step_000002", "File too large", "last good checkpoint is", "step_000001", "--resume"):
        assert part in str(caught.value)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_other_errors_pass_through_and_leave_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def broken(folder: Path) -> None:
        small(folder)
        raise error

    run = RunDir(tmp_path)
    with pytest.raises(error):
        save_checkpoint(run, 2, broken, state(2), keep=1)
    assert names(run) == []


def test_a_run_killed_before_a_checkpoint_is_whole_has_the_one_before(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    save_checkpoint(run, 1, small, state(1), keep=1)
    begin_checkpoint(run, 2, small, state(2), keep=1)
    assert run.latest_checkpoint() == run.checkpoint(1)
    assert load_state(run.checkpoint(1)) == state(1)
    save_checkpoint(run, 3, small, state(3), keep=1)
    assert run.complete_checkpoints() == (run.checkpoint(3),)


def test_leftovers_of_a_killed_save_are_replaced(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    for leftover in (run.checkpoints / ".partial_step_000002", run.checkpoint(2)):
        leftover.mkdir(parents=True)
        (leftover / "junk").write_text("")
    assert run.latest_checkpoint() is None
    saved = save_checkpoint(run, 2, small, state(2), keep=1)
    assert sorted(p.name for p in saved.iterdir()) == [DIGESTS_NAME, "policy", STATE_NAME]
    assert names(run) == ["step_000002"]


def test_complete_checkpoint_of_the_same_step_stays(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    save_checkpoint(run, 2, small, state(2), keep=1)
    save_checkpoint(run, 2, lambda folder: pytest.fail("written again"), state(2), keep=1)


def test_a_run_keeps_at_least_one_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep is 0"):
        save_checkpoint(RunDir(tmp_path), 2, small, state(2), keep=0)


def test_a_full_disk_of_another_process_is_told_in_a_line(tmp_path: Path) -> None:
    """Ray raises a copy of what a process raised, with its traceback in the text."""

    class Copy(OSError):
        cause = OSError(errno.ENOSPC, "No space left on device")

    def full(folder: Path) -> None:
        raise Copy("ray::LearnerRank.save()\n  File 'weights.py', line 80\nOSError: [Errno 28] No space left on device")

    with pytest.raises(CheckpointError, match=r"cannot be written: No space left on device \(") as caught:
        save_checkpoint(RunDir(tmp_path), 2, full, state(2), keep=1)
    assert "File" not in str(caught.value)


def test_a_part_of_a_checkpoint_is_compared_alone(tmp_path: Path) -> None:
    saved = save_checkpoint(RunDir(tmp_path), 2, small, state(2), keep=1)
    (saved / STATE_NAME).write_text("{}")
    check_digests(saved, "policy")
    with pytest.raises(CheckpointError, match=f"{STATE_NAME}: differs from what was saved"):
        check_digests(saved)
    (damaged,) = (saved / "policy").iterdir()
    damaged.write_text("other")
    with pytest.raises(CheckpointError, match=f"policy/{damaged.name}: differs from what was saved"):
        check_digests(saved, "policy")
    check_digests(saved / "policy", "deeper")  # no checkpoint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read: No such file.*checkpoints/"),
        ("{", "Invalid JSON.*the one before"),
        ('{"step": 1, "data_position": 1, "seed": 0}', "policy_version: Field required"),
        ('{"format": 9, "step": 1, "data_position": 1, "seed": 0, "policy_version": 1}', "format 9, but"),
    ],
)
def test_unreadable_state(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / STATE_NAME).write_text(text)
    with pytest.raises(CheckpointError, match=message):
        load_state(tmp_path)
