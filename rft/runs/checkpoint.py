"""Checkpoints: all or nothing. What the learner writes, and beside it where the run stands."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from rft.errors import CheckpointError
from rft.files import PARTIAL_PREFIX
from rft.runs.run_dir import STATE_NAME, RunDir

DIGESTS_NAME = "digests.json"
"""Inside a checkpoint: path of each other file in it -> BLAKE2b of its content."""

HASH_THREADS = 4
"""Files hashed at a time; hashing one takes about a second per GB."""

FORMAT = 1
"""Version of the layout of a checkpoint."""


class TrainState(BaseModel):
    """Where a run stands, apart from what the learner keeps itself."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    format: int = FORMAT
    step: int
    """GRPO steps done."""
    data_position: int
    """Of the prompt order."""
    seed: int
    policy_version: int
    """Optimizer updates done."""
    bad: dict[str, str] = {}
    """Prompt id -> why its clip could not be decoded."""
    solved: dict[str, int] = {}
    """Prompt id -> position of the prompt order from which on it is passed over."""
    variances: dict[str, float] = {}
    """Task -> running variance of the rewards inside a group."""
    totals: dict[str, float] = {}
    """Sums over the run so far, such as tokens and seconds by phase."""


def begin_checkpoint(
    run_dir: RunDir, step: int, write: Callable[[Path], None], state: TrainState, keep: int
) -> Callable[[], Path]:
    """Write the files of a new checkpoint; returns what makes it one, which needs nothing but them.

    That is called once, from any thread, before another checkpoint is begun. It adds digests, forces the files to
    disk, removes older checkpoints than the last `keep`, and returns the folder.

    `write` fills an empty folder beside the final one, which takes its name only once all of it is on disk.
    A complete checkpoint of this step stays as it is: an interrupt may follow a save that was due.
    Both raise CheckpointError where the disk refuses; the checkpoints before stay as they were.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}; a run keeps at least one checkpoint")
    final = run_dir.checkpoint(step)
    if final in run_dir.complete_checkpoints():
        return lambda: final
    partial = final.with_name(f"{PARTIAL_PREFIX}{final.name}")
    with _whole_or_gone(run_dir, final, partial):
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir(parents=True)
        write(partial)
        (partial / STATE_NAME).write_text(state.model_dump_json(indent=1), encoding="utf-8")

    def finish() -> Path:
        with _whole_or_gone(run_dir, final, partial):
            (partial / DIGESTS_NAME).write_text(json.dumps(digests(partial), indent=1), encoding="utf-8")
            for path in (*partial.rglob("*"), partial):
                flush(path)  # so that a full disk shows before the rename
            if final.exists():
                shutil.rmtree(final)  # without a state file, as the copy of a checkpoint broken off would be
            os.rename(partial, final)
            flush(final.parent)
        prune(run_dir, keep)
        return final

    return finish


@contextmanager
def _whole_or_gone(run_dir: RunDir, final: Path, partial: Path) -> Iterator[None]:
    """Removes `partial` where the block fails."""
    try:
        yield
    except Exception as error:
        # What cannot be removed now is removed by the next save or start, and is never taken for a checkpoint.
        shutil.rmtree(partial, ignore_errors=True)
        if not from_the_system(error):
            raise
        raise CheckpointError(refusal(run_dir, final, error)) from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def load_state(path: Path) -> TrainState:
    """The state of the checkpoint folder `path`, all of whose files are read and compared with their digests.

    CheckpointError: it is missing, damaged or of another format.
    """
    file = path / STATE_NAME
    try:
        state = TrainState.model_validate_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"{file}: cannot be read: {error.strerror}. Give a folder under checkpoints/ of a run."
        ) from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise CheckpointError(f"{file}: {problems}. Delete this checkpoint to resume from the one before.") from error
    if state.format != FORMAT:
        raise CheckpointError(
            f"{file}: format {state.format}, but this version of rft reads {FORMAT}. Resume with the rft that wrote it."
        )
    check_digests(path)
    return state


def digests(folder: Path, part: str = ".") -> dict[str, str]:
    """Path in `folder` of each file in its `part`, but the digests' own -> its digest."""
    files = sorted(path for path in (folder / part).rglob("*") if path.is_file() and path != folder / DIGESTS_NAME)
    with ThreadPoolExecutor(HASH_THREADS) as pool:
        return dict(zip((str(path.relative_to(folder)) for path in files), pool.map(digest, files), strict=True))


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def check_digests(folder: Path, part: str = ".") -> None:
    """Raises CheckpointError: a file in this `part` of a checkpoint is not as it was saved.

    Checkpoints of older versions hold no digests, nor do folders that are none.
    """
    file = folder / DIGESTS_NAME
    if not file.exists():
        return
    remedy = f"Delete {folder} to resume from the checkpoint before it."
    try:
        saved, actual = json.loads(file.read_text(encoding="utf-8")), digests(folder, part)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file}: cannot be compared with the files: {error}. {remedy}") from error
    for name, expected in saved.items():
        if (folder / name).is_relative_to(folder / part) and actual.get(name) != expected:
            what = "differs from what was saved: the file is damaged" if name in actual else "is missing"
            raise CheckpointError(f"{folder / name}: {what}. {remedy}")


def flush(path: Path) -> None:
    """Force a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def prune(run_dir: RunDir, keep: int) -> None:
    """Remove all but the last `keep` checkpoints."""
    for old in run_dir.complete_checkpoints()[:-keep]:
        doomed = old.with_name(f"{PARTIAL_PREFIX}old_{old.name}")
        try:
            os.rename(old, doomed)  # first, so that a half-removed folder is never taken for a checkpoint
            shutil.rmtree(doomed)
        except OSError as error:
            raise CheckpointError(
                f"{old}: the new checkpoint is saved, but this old one cannot be removed: {error.strerror}. "
                "Remove it by hand, then continue with --resume."
            ) from error


def from_the_system(error: Exception) -> bool:
    """Whether `error` tells of the disk; safetensors reports it in the text of an error class of its own."""
    return isinstance(error, OSError) or "(os error " in str(error)


def refusal(run_dir: RunDir, final: Path, error: Exception) -> str:
    error = getattr(error, "cause", None) or error  # Ray's own copy of it has a traceback in its text
    last = run_dir.latest_checkpoint()
    free = shutil.disk_usage(run_dir.path).free / 2**30
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    kept = f"The last good checkpoint is {last}" if last else "There is no earlier checkpoint"
    return (
        f"{final}: the checkpoint cannot be written: {reason} ({free:.1f} GiB free). {kept}. "
        "Free space (or lower keep_checkpoints), then continue with --resume."
    )
