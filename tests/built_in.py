"""The tasks of rft/tasks/; those of packs have tests of their own."""

from rft.tasks import TASKS

BUILT_IN = {name: task for name, task in TASKS.items() if type(task).__module__.startswith("rft.tasks.")}
