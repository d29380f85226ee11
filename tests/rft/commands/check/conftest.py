"""A recipe without problems, on real files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rft.recipe import Recipe
from rft.tasks import TASKS


@pytest.fixture
def make(
    tmp_path: Path, model_folder: Path, example_rows: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Recipe]:
    """Builds a recipe that is fine, apart from what a test changes."""
    monkeypatch.chdir(tmp_path)

    def build(tasks: dict[str, Any] | None = None, **changes: Any) -> Recipe:
        tasks = {"temporal_grounding": {}} if tasks is None else tasks
        rows = example_rows(tmp_path / "rows.jsonl", [name for name in tasks if name in TASKS], copies=8)
        values = {"model": str(model_folder), "tasks": tasks, "data": {"train": [rows]}, "steps": 4, **changes}
        return Recipe.model_validate(values)

    return build
