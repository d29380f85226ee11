"""Metric names and writers.

Names: `reward`, `reward/<task>`, `score/<task>/<reward name>`, `shuffled_score/<task>` (of the same reward as
`scoring.order_bonus`, on shuffled frames), `fault/<task>/<kind>` (completions of the step with
that fault, rewards/types.py), `seconds/<phase>`, `eval/<task>` (the task's main metric),
`eval/<task>/<sampled or greedy>/<metric>` (a data set's name, dots for slashes, where rows name one);
what the learner, the pool and the scoring report keeps its name.
"""

import json
import math
import time
from collections import defaultdict
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from rft.files import read_lines, writing
from rft.runs.run_dir import RunDir

if TYPE_CHECKING:
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

Stage = Literal["cold_start", "train"]
"""What counts the steps of a line: the supervised stage, or GRPO."""


class MetricsWriter:
    """Writes metrics.jsonl and TensorBoard curves. One line per call; a step may have several."""

    def __init__(self, run_dir: RunDir, resumed_at: int | None = None) -> None:
        """`resumed_at`: the step of the checkpoint that the run continues from; later points of curves are dropped."""
        self._path = run_dir.metrics
        self._tensorboard = run_dir.tensorboard
        self._resumed_at = resumed_at
        self._curves: dict[Stage, EventFileWriter] = {}

    def write(self, step: int, values: Mapping[str, float], stage: Stage = "train") -> None:
        """Values that are no finite number stand as null. Raises CheckpointError where the disk refuses."""
        finite = {name: float(value) if math.isfinite(value) else None for name, value in values.items()}
        line = json.dumps({"stage": stage, "step": step, "time": round(time.time(), 3), **finite})
        with writing(self._path):
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
            self._draw(step, values, stage)

    def close(self) -> None:
        for curves in self._curves.values():
            curves.close()
        self._curves = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _draw(self, step: int, values: Mapping[str, float], stage: Stage) -> None:
        """Add points to the TensorBoard curves of `stage`."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # readers of metrics load none of it
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if stage not in self._curves:
            self._curves[stage] = EventFileWriter(str(self._tensorboard / stage))
            if self._resumed_at is not None and stage == "train":
                # TensorBoard drops the points from this step on that earlier files of the folder hold.
                start = SessionLog(status=SessionLog.START)
                self._curves[stage].add_event(
                    Event(wall_time=time.time(), step=self._resumed_at + 1, session_log=start)
                )
        points = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._curves[stage].add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=points)))
        self._curves[stage].flush()


def read_metrics(run_dir: RunDir, stage: Stage = "train") -> dict[int, dict[str, float]]:
    """Step -> metrics, in order of the steps; lines of one step are joined, the later one wins; nan where null."""
    steps: dict[int, dict[str, float]] = defaultdict(dict)
    if run_dir.metrics.exists():
        for line in read_lines(run_dir.metrics):
            if line["stage"] == stage:
                values = {k: v for k, v in line.items() if k not in ("stage", "step", "time")}
                steps[line["step"]] |= {k: math.nan if v is None else v for k, v in values.items()}
    return dict(sorted(steps.items()))
