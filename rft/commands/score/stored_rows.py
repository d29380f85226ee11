"""Lines of stored completions -> completion, task and target, each checked."""

from typing import Any

from msgspec import Struct

from rewards.types import Target
from rft.errors import near_name
from rft.evaluation.predictions import StoredCompletion, stored_completion
from rft.files import JsonLine
from rft.tasks import TASKS, requested_task
from rft.tasks.types import Task


class StoredRow(Struct, frozen=True):
    """A line, what it holds, and what the completion is compared with."""

    line: JsonLine
    stored: StoredCompletion
    task: str
    target: Target


class StoredRows:
    """Reads line after line; counts what it leaves out on the way."""

    def __init__(self, task: str | None) -> None:
        """`task`: of lines that name none; lines that name another are left out. DataError: there is no such task."""
        self.task = None if task is None else requested_task(task)
        self._tasks: dict[str, Task] = {}
        """Tasks that were met: a plain dict takes less of the time of each row than TASKS."""
        self._latest: tuple[object, Target | None] = (None, None)
        self.problems: list[str] = []
        self.left_out = 0
        """Rows of other tasks than the requested one."""

    def read(self, line: JsonLine) -> StoredRow | None:
        """The row of a line; None where it is of another task, or with its problems noted."""
        task = line.value.get("task") or self.task
        if self.task is not None and task != self.task:
            self.left_out += 1
            return None
        try:
            known = self._known(task)
            stored = stored_completion(line, self.problems)
            return StoredRow(line, stored, known.name, self._target(stored, known)) if stored else None
        except ValueError as error:
            self.problems.append(f"{line.where}: {error}")
            return None

    def _known(self, name: Any) -> Task:
        """The task of a name. ValueError: no task goes by it."""
        if name is None:
            raise ValueError("task: missing. Say which with --task.")
        if not isinstance(name, str) or (name not in self._tasks and name not in TASKS):
            raise ValueError(f"unknown task {name!r}.{near_name(str(name), TASKS)}")
        if name not in self._tasks:
            self._tasks[name] = TASKS[name]
        return self._tasks[name]

    def _target(self, stored: StoredCompletion, task: Task) -> Target:
        # The completions of one prompt mostly stand together.
        of_prompt = (task.name, stored.target, stored.duration_s)
        if self._latest[1] is None or self._latest[0] != of_prompt:
            try:
                target = task.read_target(stored.target or {}, duration_s=stored.duration_s)
            except ValueError as error:
                raise ValueError(f"target: {error}") from error
            self._latest = (of_prompt, target)
            return target
        return self._latest[1]
