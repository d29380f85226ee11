"""The tasks, one file each. A new file in this folder is found by itself. Runs without torch."""

from rewards.discovery import classes_in
from rft.tasks.types import Task

TASKS: dict[str, Task] = {}
"""Name -> task."""

for task_type in classes_in(__name__, Task):
    assert task_type.name not in TASKS, f"{task_type.__module__}: there is another task {task_type.name}"
    TASKS[task_type.name] = task_type()
