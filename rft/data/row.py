"""One row from the JSON object that states it, or all that is wrong with it."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rewards.targets.values import shown
from rft.data.frames import path_problem
from rft.errors import near_name, shortened
from rft.files import TOO_DEEP
from rft.tasks import TASKS
from rft.tasks.types import Part, Row, Task
from rft.types import MEDIA_MARK

NAMED_OF_ROW = 5
"""Most problems of one row's fields that are written out; the others are counted."""


def read_row(data: dict[str, Any], root: Path, tasks: Collection[str]) -> Row | list[str]:
    """The row, its paths from `root`; or its problems."""
    name = data.get("task")
    if not isinstance(name, str) or name not in tasks or name not in TASKS:
        what = "missing" if name is None else f"unknown task {shown(name)}"
        return [f"task: {what}.{near_name(name if isinstance(name, str) else '', tasks)}"]
    task = TASKS[name]
    try:
        return _resolved(task.row_type.model_validate(data, strict=False), task, root)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        more = len(errors) - NAMED_OF_ROW
        named = [_explained(one, task.row_type) for one in errors[:NAMED_OF_ROW]]
        return [*named, f"... and {more} more problems of this row"] if more > 0 else named
    except RecursionError:
        return [TOO_DEEP]
    except ValueError as error:
        return [str(error)]


def _resolved(row: Row, task: Task, root: Path) -> Row:
    """The row with its paths from `root`. Raises ValueError: its target is wrong, or a path must not be opened."""
    try:
        task.target(row)
    except ValueError as error:
        raise ValueError(f"target: {shortened(str(error))}") from error
    if row.media is None:
        return row.model_copy(update=_whole_paths(row, root))
    if (marks := task.prompt_text(row, think=False).count(MEDIA_MARK)) not in (0, len(row.media)):
        raise ValueError(f"the question has {marks} {MEDIA_MARK} for {len(row.media)} media; write one each, or none")
    return row.model_copy(update={"media": tuple(p.model_copy(update=_whole_paths(p, root)) for p in row.media)})


def _whole_paths(shown: Row | Part, root: Path) -> dict[str, str]:
    """Field -> path from `root`. Raises ValueError: it must not be opened."""
    paths = {}
    for name, written in {"video": shown.video, "image": shown.image}.items():
        if written is None:
            continue
        try:
            path = root / Path(written).expanduser()
        except RuntimeError as error:
            raise ValueError(f"{name}: {shortened(written)}: no such user; write the path out") from error
        if problem := path_problem(path):
            raise ValueError(f"{name}: {shortened(repr(str(path)))}: {problem}; correct the row or drop it")
        paths[name] = str(path)
    return paths


def _explained(error: Any, row_type: type[Row]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{shortened(key)}: unknown key.{near_name(key, row_type.model_fields)}"
    if error["type"] == "missing":
        return f"{key}: missing"
    message = error["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" if key else message
