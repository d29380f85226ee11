"""The tasks: one file each in this folder, or in a pack; each is found by itself. Runs without torch."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rewards.discovery import classes_in, classes_of, modules_named
from rft.errors import DataError, RecipeError, near_name
from rft.own_code import absolute_name, is_own, load_installed, load_own
from rft.tasks.types import Task

PARTS = ("name", "row_type", "target_type", "example", "rewards", "main_metric")
"""What a task states beside its methods."""


class TaskTable(Mapping[str, Task]):
    """Name -> task: those of this folder and of the packs, those of installed packages, and one's own once loaded.

    Packages are searched for a name that is not here; listing the table does not search them.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks: dict[str, Task] = {}
        for task in tasks:
            self._add(task, task.name)

    def __getitem__(self, name: str) -> Task:
        try:
            return self._tasks[name]
        except KeyError:
            found = load_installed("rft.tasks", name)
            if found is None:
                raise
        task = self._add(_task_of(found, name), name)
        if task.name != name:
            raise RecipeError(f"{name} (rft.tasks): the task calls itself {task.name}. Register it by that name.")
        return task

    def __contains__(self, name: object) -> bool:
        return name in self._tasks or super().__contains__(name)  # known names are asked for at every row

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def load(self, name: str) -> Task:
        """The task FILE.py:TASK, in the table by its own name from now on; or that of a name in the table.

        A relative path starts at the current directory. Raises RecipeError: it cannot be loaded, or is no whole task.
        """
        if is_own(name):
            return self._add(_task_of(load_own(absolute_name(name, Path())), name), name)
        if name not in self:
            raise RecipeError(f"unknown task {name!r}.{near_name(name, self)}")
        return self[name]

    def _add(self, task: Task, source: str) -> Task:
        known = self._tasks.setdefault(task.name, task)
        if type(known) is not type(task):
            where = type(known).__module__
            raise RecipeError(f"{source}: there is another task {task.name}, in {where}. Give this one another name.")
        return known


def _task_of(kind: Any, source: str) -> Task:
    """The task of a class from outside. Raises RecipeError with everything that it lacks."""
    if not (inspect.isclass(kind) and issubclass(kind, Task)):
        raise RecipeError(f"{source}: is no task. Write a class that inherits from rft.tasks.types.Task.")
    lacks = [*sorted(kind.__abstractmethods__), *(part for part in PARTS if not hasattr(kind, part))]
    if lacks:
        raise RecipeError(f"{source}: lacks {', '.join(lacks)}; see Task in rft/tasks/types.py.")
    if kind.example.task != kind.name:
        raise RecipeError(f"{source}: the task of its example is {kind.example.task!r}, not its name {kind.name!r}.")
    task: Task = kind()
    return task


_PACKED = [
    kind
    for pack, module in modules_named("rft.packs", "tasks").items()
    for kind in classes_of(module, Task, f"rft.packs.{pack}")
]

TASKS = TaskTable([task_type() for task_type in (*classes_in(__name__, Task), *_PACKED)])
"""Name -> task."""


def requested_task(task: str) -> str:
    """Name of the task that a command line asks for, as TASKS.load. DataError: there is none."""
    try:
        return TASKS.load(task).name
    except RecipeError as error:
        raise DataError(f"--task: {error}") from error
