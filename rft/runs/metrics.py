"""Metric names and writers.

Names: `reward`, `reward/<task>`, `score/<task>/<reward name>`, `score_std/<task>/<reward name>` (spread in a group),
`same_answer_share/<task>` (of answers to prompts with different targets), `shuffled_score/<task>` (of the same reward
as `scoring.order_bonus`, on shuffled frames), `fault/<task>/<kind>` (completions of the step with
that fault, rewards/types.py), `seconds/<phase>`, `eval/<task>` (the task's main metric),
`eval/<task>/<sampled or greedy>/<metric>` (a data set's name, dots for slashes, where rows name one);
what the learner, the pool and the scoring report keeps its name.
"""

import json
import math
import time
from collections import defaultdict
from collections.abc import Mapping

from rft.files import read_lines, writing
from rft.runs.run_dir import RunDir
from rft.runs.trackers.background import Trackers
from rft.runs.trackers.tracker import Stage


class MetricsWriter:
    """Writes metrics.jsonl, and hands the same values to the trackers. One line per call; a step may have several."""

    def __init__(self, run_dir: RunDir, trackers: Trackers | None = None) -> None:
        self._path, self._trackers = run_dir.metrics, trackers

    def write(self, step: int, values: Mapping[str, float], stage: Stage = "train") -> None:
        """Values that are no finite number stand as null. Raises CheckpointError where the disk refuses."""
        finite = {name: float(value) if math.isfinite(value) else None for name, value in values.items()}
        line = json.dumps({"stage": stage, "step": step, "time": round(time.time(), 3), **finite})
        with writing(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        if self._trackers is not None:
            self._trackers.log_metrics(stage, step, values)


def read_metrics(run_dir: RunDir, stage: Stage = "train") -> dict[int, dict[str, float]]:
    """Step -> metrics, in order of the steps; lines of one step are joined, the later one wins; nan where null."""
    steps: dict[int, dict[str, float]] = defaultdict(dict)
    if run_dir.metrics.exists():
        for line in read_lines(run_dir.metrics):
            if line["stage"] == stage:
                values = {k: v for k, v in line.items() if k not in ("stage", "step", "time")}
                steps[line["step"]] |= {k: math.nan if v is None else v for k, v in values.items()}
    return dict(sorted(steps.items()))
