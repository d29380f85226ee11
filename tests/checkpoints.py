"""A checkpoint in one call."""

from collections.abc import Callable
from pathlib import Path

from rft.runs.checkpoint import TrainState, begin_checkpoint
from rft.runs.run_dir import RunDir


def save_checkpoint(run_dir: RunDir, step: int, write: Callable[[Path], None], state: TrainState, keep: int) -> Path:
    """The folder of the new checkpoint: `begin_checkpoint` and what it leaves to do."""
    return begin_checkpoint(run_dir, step, write, state, keep)()
