"""The tasks, one file each; every task is in the table below. Runs without torch."""

from rft.tasks.caption import CAPTION
from rft.tasks.grounded_qa import GROUNDED_QA
from rft.tasks.multiple_choice import MULTIPLE_CHOICE
from rft.tasks.quality import QUALITY
from rft.tasks.temporal_grounding import TEMPORAL_GROUNDING
from rft.tasks.tracking import TRACKING
from rft.tasks.types import Task

TASKS: dict[str, Task] = {
    task.name: task for task in (TEMPORAL_GROUNDING, TRACKING, MULTIPLE_CHOICE, GROUNDED_QA, QUALITY, CAPTION)
}
