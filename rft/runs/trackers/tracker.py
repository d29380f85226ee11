"""What a tracker is given, and what it does with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol
from uuid import uuid4

import numpy as np

from rft.files import write_text
from rft.tables import TextTable

Stage = Literal["cold_start", "train"]
"""What counts the steps of metrics: the supervised stage, or GRPO."""

PROJECT = "rft"
"""Project or experiment that runs are listed under, where no environment variable of the library names another."""


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """The run as a tracker sees it."""

    name: str
    folder: Path
    """Of this tracker; for what it keeps on disk."""
    recipe: Mapping[str, Any]
    """With every default filled in; plain values."""

    def kept_id(self) -> str:
        """Id of the run in this tracker: drawn once, the same after a resume."""
        path = self.folder / "run_id"
        if not path.exists():
            self.keep_id(uuid4().hex[:12])
        return path.read_text(encoding="utf-8").strip()

    def keep_id(self, run_id: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / "run_id", run_id)


@dataclass(frozen=True, slots=True)
class ShownRollout:
    """A rollout as a tracker shows it."""

    name: str
    """Such as "best/tracking"."""
    text: str
    """Prompt, completion, reward, and each score with its note."""
    picture: np.ndarray | None
    """Frames side by side, uint8 [H, W, 3]; None: the prompt shows none, or they are not in the cache."""


class Tracker(Protocol):
    """A library that keeps and shows runs. All calls come from one thread; what they raise is counted and told once."""

    def log_metrics(self, stage: Stage, step: int, values: Mapping[str, float]) -> None: ...

    def cut_after(self, step: int) -> None:
        """Points of GRPO steps after `step` come again: drop those that are there, where the library can."""
        ...

    def log_rollouts(self, step: int, rollouts: Sequence[ShownRollout]) -> None: ...

    def log_table(self, table: TextTable) -> None: ...

    def close(self) -> None: ...


def curve_names(stage: Stage, values: Mapping[str, float]) -> dict[str, float]:
    """The metrics under names that tell the two stages apart."""
    return dict(values) if stage == "train" else {f"{stage}/{name}": value for name, value in values.items()}


def indented(text: str) -> str:
    """Markdown that shows `text` as written."""
    return "\n".join(f"    {line}" for line in text.splitlines())
