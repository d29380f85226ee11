"""The trackers of a run, each behind a queue in a thread of its own: none of them can stop a run or hold up a step."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from queue import Full, Queue
from typing import Any

import numpy as np

from rft.data.frames import ClipError, Shown, first_to_last, frames_of
from rft.errors import shortened
from rft.recipe import Recipe
from rft.recipe.watch import TrackerName
from rft.runs.run_dir import RunDir
from rft.runs.trackers.tracker import ShownRollout, Stage, TrackedRun, Tracker
from rft.tables import TextTable
from rft.types import Group, Media, Prompt, Rollout

QUEUE_SIZE = 1000
"""Calls that wait for a tracker; further ones are dropped and counted."""

CLOSE_S = 60.0
"""Longest time that the end of a run waits for each tracker."""

NUM_FRAMES = 8
"""Most frames of a picture, evenly over the clip."""

OpenTracker = Callable[[TrackerName, TrackedRun], Tracker]


def open_by_name(name: TrackerName, run: TrackedRun) -> Tracker:
    """The tracker of that name; imports its library."""
    module = import_module(f"rft.runs.trackers.{name}")
    try:
        tracker: Tracker = module.open_tracker(run)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; the extra [{name}] installs it, see docs/runs.md") from error
    return tracker


@dataclass
class Channel:
    """A tracker in a thread of its own, which opens it with the first call and ends with the run."""

    name: TrackerName
    open_tracker: Callable[[], Tracker]
    note: Callable[[str], None]
    queue_size: int = QUEUE_SIZE
    num_failed: int = 0
    """Calls that raised, or came after the tracker could not be opened."""
    num_dropped: int = 0
    """Calls that found the queue full."""
    problem: str = ""
    """The first one; "" where there was none."""

    def __post_init__(self) -> None:
        self._calls: Queue[Callable[[Tracker], None] | None] = Queue(self.queue_size)
        self._thread = threading.Thread(target=self._work, name=f"tracker-{self.name}", daemon=True)
        self._thread.start()

    def put(self, call: Callable[[Tracker], None]) -> None:
        """Have `call` made with the tracker, in order. Returns at once."""
        try:
            self._calls.put_nowait(call)
        except Full:
            self.num_dropped += 1
            self._tell(f"{self.queue_size} calls wait for it; further ones are dropped")

    def close(self, timeout_s: float) -> None:
        """Wait for what was put, and end the tracker."""
        until = time.monotonic() + timeout_s
        with suppress(Full):  # then it cannot be done in time either
            self._calls.put(None, timeout=timeout_s)
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            self._tell(f"not done after {timeout_s:g} s; what it still holds is lost")

    def _work(self) -> None:
        tracker: Tracker | None = None
        cannot_open = False
        while (call := self._calls.get()) is not None:
            try:
                if cannot_open:
                    self.num_failed += 1
                    continue
                cannot_open = tracker is None
                tracker = tracker or self.open_tracker()
                cannot_open = False
                call(tracker)
            except (Exception, SystemExit) as error:  # whatever a library raises, the run goes on
                self._fail(error)
        if tracker is not None:
            try:
                tracker.close()
            except (Exception, SystemExit) as error:
                self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self.num_failed += 1
        self._tell(shortened(f"{type(error).__name__}: {error}"))

    def _tell(self, problem: str) -> None:
        if not self.problem:
            self.problem = problem
            self.note(f"tracker {self.name}: {problem}. The run goes on; summary.json counts what it misses")


class Trackers:
    """All trackers of a run."""

    def __init__(
        self,
        recipe: Recipe,
        run: RunDir,
        find_frames: Callable[[Media], Shown | None],
        note: Callable[[str], None],
        open_tracker: OpenTracker = open_by_name,
    ) -> None:
        """`find_frames`: of media that are decoded already; called from threads."""
        self._find_frames = find_frames
        plain = recipe.model_dump(mode="json")

        def opener(name: TrackerName) -> Callable[[], Tracker]:
            folder = run.tensorboard if name == "tensorboard" else run.trackers / name
            return lambda: open_tracker(name, TrackedRun(run.path.resolve().name, folder, plain))

        self._channels = [Channel(name, opener(name), note) for name in recipe.trackers]

    def log_metrics(self, stage: Stage, step: int, values: Mapping[str, float]) -> None:
        self._put(lambda tracker: tracker.log_metrics(stage, step, values))

    def cut_after(self, step: int) -> None:
        self._put(lambda tracker: tracker.cut_after(step))

    def log_rollouts(self, step: int, groups: Sequence[Group]) -> None:
        """The best and the worst rollout of each task."""
        self._put(lambda tracker: tracker.log_rollouts(step, [self._shown(*one) for one in best_and_worst(groups)]))

    def log_table(self, table: TextTable) -> None:
        self._put(lambda tracker: tracker.log_table(table))

    def close(self, timeout_s: float = CLOSE_S) -> dict[str, Any]:
        """Ends all of them; returns name -> {"problem", "failed", "dropped"} of those that missed something."""
        for channel in self._channels:
            channel.close(timeout_s)
        return {
            channel.name: {
                "problem": channel.problem,
                "failed": channel.num_failed,
                "dropped": channel.num_dropped,
            }
            for channel in self._channels
            if channel.problem
        }

    def _put(self, call: Callable[[Tracker], None]) -> None:
        for channel in self._channels:
            channel.put(call)

    def _shown(self, name: str, prompt: Prompt, rollout: Rollout) -> ShownRollout:
        try:
            frames = frames_of(self._find_frames(prompt.media)) if prompt.media else ()
        except ClipError:  # the file is gone: the text alone is shown
            frames = ()
        # Of several clips and images the first.
        picture = side_by_side(frames[0].pixels) if frames else None
        return ShownRollout(name, rollout_text(prompt, rollout), picture)


def best_and_worst(groups: Sequence[Group]) -> list[tuple[str, Prompt, Rollout]]:
    """("best/<task>" or "worst/<task>", prompt, rollout) of each task, the first of equals."""
    chosen = []
    by_task: dict[str, list[tuple[Prompt, Rollout]]] = defaultdict(list)
    for group in groups:
        by_task[group.prompt.task] += [(group.prompt, rollout) for rollout in group.rollouts]
    for task, rollouts in by_task.items():
        chosen.append((f"best/{task}", *max(rollouts, key=lambda one: one[1].reward)))
        chosen.append((f"worst/{task}", *min(rollouts, key=lambda one: one[1].reward)))
    return chosen


def rollout_text(prompt: Prompt, rollout: Rollout) -> str:
    scores = [f"{name} {score.value:.3f}: {score.note}" for name, score in rollout.scores.items()]
    lines = (f"{prompt.prompt_id}: reward {rollout.reward:.3f}", *scores, rollout.problem, prompt.text)
    return "\n".join([*filter(None, lines), f"-> {rollout.completion.text}"])


def side_by_side(pixels: np.ndarray) -> np.ndarray:
    """Up to NUM_FRAMES frames of uint8 [F, H, W, 3], evenly from first to last, as [H, W', 3]."""
    return np.concatenate(list(pixels[first_to_last(len(pixels), NUM_FRAMES)]), axis=1)
