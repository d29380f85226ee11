"""The task packs, one folder each: the tasks of one family of papers. A new folder is found by itself.

A pack's files go by name: `tasks.py` has its tasks, `formats.py` its published annotation formats (FORMATS: name ->
Format), `drawn.py` the clips that teach a small policy (DRAWN: name -> DrawnSet), `published.yaml` the papers'
figures, `suites.yaml` their sums over data sets.
"""

# The table of tasks imports every pack's tasks; were a pack's file imported first, the table would miss that pack.
import rft.tasks  # noqa: F401
