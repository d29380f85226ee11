"""The tasks, one file each. A new file in this folder with a TASK needs no registration. Runs without torch."""

import importlib
import pkgutil

from rft.tasks.types import Task


def _tasks() -> dict[str, Task]:
    tasks: dict[str, Task] = {}
    for module_info in pkgutil.iter_modules(__path__):
        task: Task | None = getattr(importlib.import_module(f"{__name__}.{module_info.name}"), "TASK", None)
        if task is not None:
            assert task.name not in tasks, f"rft/tasks/{module_info.name}.py: there is another task {task.name}"
            tasks[task.name] = task
    return tasks


TASKS: dict[str, Task] = _tasks()
"""Name -> task."""
