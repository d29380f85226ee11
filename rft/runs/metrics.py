"""Metric names and writers, and the clock of the phases.

Names: `reward`, `reward/<task>`, `score/<task>/<reward name>`, `shuffled_score/<task>` (of the same reward as
`scoring.order_bonus`, on shuffled frames), `fault/<task>/<kind>` (completions of the step with
that fault, rft/scoring/faults.py), `seconds/<phase>`, `eval/<task>` (the task's main metric),
`eval/<task>/<sampled or greedy>/<metric>` (a data set's name, dots for slashes, where rows name one);
what the learner, the pool and the scoring report keeps its name.
"""

import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from rft.runs.run_dir import RunDir, read_lines, writing
from rft.scoring.faults import FAULTS, fault_of
from rft.types import Group, Rollout

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


@dataclass(frozen=True, slots=True)
class PhaseSpan:
    """When a phase ran, on the clock that all processes of a machine share."""

    name: str
    start_s: float
    end_s: float


class Clock:
    """Seconds by phase. A phase inside another is taken out of the outer one, so that the sum is the time spent."""

    def __init__(self, seconds: Mapping[str, float] | None = None, now: Callable[[], float] = time.perf_counter):
        """`seconds`: what to continue from, such as the totals of a resumed run."""
        self.seconds: dict[str, float] = dict(seconds or {})
        self.spans: list[PhaseSpan] = []
        """Every phase that has ended, in the order they ended."""
        self._now = now
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self._account()
        self._open.append(name)
        start_s = self._since
        try:
            yield
        finally:
            self._account()
            self._open.pop()
            self.spans.append(PhaseSpan(name, start_s, self._since))

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add what another clock counted."""
        for name, more in seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + more

    def _account(self) -> None:
        """Give the time since the last change to the innermost open phase."""
        now = self._now()
        if self._open:
            self.add({self._open[-1]: now - self._since})
        self._since = now


def group_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """What the rollouts of one step look like: rewards by task, scores, faults, lengths, shares of cut and failed.

    Failed completions count in the rewards; scores are means over the completions that could be judged.
    """
    rollouts = [(group.prompt.task, rollout) for group in groups for rollout in group.rollouts]
    if not rollouts:
        return {}
    by_name: dict[str, list[float]] = defaultdict(list)
    # Kinds that do not occur count 0: a curve that only has points where something was wrong would mislead.
    faults = {f"fault/{task}/{kind}": 0.0 for task in dict.fromkeys(task for task, _ in rollouts) for kind in FAULTS}
    for group in groups:
        if group.shuffled_score is not None:
            by_name[f"shuffled_score/{group.prompt.task}"].append(group.shuffled_score)
    for task, rollout in rollouts:
        if fault := fault_of(rollout.scores):
            faults[f"fault/{task}/{fault}"] += 1
        by_name["reward"].append(rollout.reward)
        by_name[f"reward/{task}"].append(rollout.reward)
        for name, score in rollout.scores.items():
            by_name[f"score/{task}/{name}"].append(score.value)
        by_name["completion_tokens"].append(len(rollout.completion.token_ids))
        by_name["truncated_share"].append(rollout.completion.finish_reason == "length")
        by_name["failed_share"].append(rollout.completion.finish_reason == "error")
    by_name["reward_std_in_group"] = [spread(group.rollouts) for group in groups]
    metrics = {name: sum(values) / len(values) for name, values in by_name.items()}
    totals = {"sampled_tokens": float(sum(by_name["completion_tokens"])), "num_rollouts": float(len(rollouts))}
    return metrics | totals | faults


def spread(rollouts: Sequence[Rollout]) -> float:
    """Standard deviation of the rewards of one group; 0 where there is none."""
    if not rollouts:
        return 0.0
    mean = sum(r.reward for r in rollouts) / len(rollouts)
    return math.sqrt(sum((r.reward - mean) ** 2 for r in rollouts) / len(rollouts))
