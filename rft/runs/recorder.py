"""What a run keeps and shows: every step's metrics and rollouts, due checkpoints and evaluations."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from rft.clock import Clock
from rft.data.dataset import PromptOrder
from rft.evaluation.evaluate import EvalResult
from rft.evaluation.predictions import write_result
from rft.evaluation.views import measured
from rft.recipe import Recipe
from rft.rollout.pool import FailedPrompt
from rft.rollout_batches import RolloutBatch
from rft.runs.ahead_batch import write_ahead_batch
from rft.runs.alarms import Alarms
from rft.runs.checkpoint import TrainState, begin_checkpoint
from rft.runs.metrics import MetricsWriter, read_metrics
from rft.runs.rollout_files import write_rollouts
from rft.runs.run_dir import RunDir
from rft.runs.timeline import TimelineWriter
from rft.runs.trackers.background import Trackers
from rft.runs.views import View
from rft.scoring.group_metrics import join_metrics
from rft.train import Learner, StepResult
from rft.types import Group


class RunRecorder:
    """The Recorder of train.py, writing to a run folder and a live view. Steps in the folder count from 1."""

    def __init__(
        self,
        recipe: Recipe,
        run: RunDir,
        view: View,
        learner: Learner,
        prompts: PromptOrder,
        evaluate: Callable[[int | None], EvalResult],
        failed: Callable[[], Sequence[FailedPrompt]],
        *,
        resumed: TrainState | None = None,
        alarms: Alarms | None = None,
        trackers: Trackers | None = None,
        stop: Callable[[str], None] = lambda alarm: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`evaluate`: measures the current policy on the held-out prompts, at most that many rows.

        `failed`: prompts that could not be sampled since it was last called. `now`: in seconds.
        `stop`: called with the title of an alarm that stops the run.
        """
        self._recipe, self._run, self._view = recipe, run, view
        self._learner, self._prompts, self._evaluate = learner, prompts, evaluate
        self._failed = failed
        self._num_bad = len(resumed.bad) if resumed else 0
        self._next_batch: RolloutBatch | None = None
        self._data_position = resumed.data_position if resumed else 0
        """Of the prompts of the next step."""
        self._variances: Mapping[str, float] = resumed.variances if resumed else {}
        self._timeline = TimelineWriter(run.timeline)
        self._alarms, self._stop = alarms or Alarms(recipe), stop
        self._metrics, self._trackers = MetricsWriter(run, trackers), trackers
        if trackers and resumed:
            trackers.cut_after(resumed.step)
        self._groups: Sequence[Group] = ()
        """Of the last step."""
        self._saved_step = resumed.step if resumed else 0
        self._saving: Future[Path] | None = None
        """Of the last checkpoint, until it is asked for."""
        self._saving_thread = ThreadPoolExecutor(1, "checkpoint")
        self._now, self._saved_at = now, now()
        self.clock = Clock(resumed.totals if resumed else None)
        """Seconds by phase of all GRPO steps, evaluations between them included."""
        self.num_steps = self._saved_step

    def progress(self, phase: str, done: int, total: int) -> None:
        if done == 0:
            self._view.phase(phase, total or None)
        else:
            self._view.advance()

    def step(self, result: StepResult) -> None:
        self.num_steps = result.step + 1
        self._next_batch, self._variances = result.next_batch, result.batch.variances
        self._data_position = result.batch.position
        self._groups = result.batch.groups
        metrics = join_metrics(result.metrics, self._prompts.counters())
        self.clock.add(phase_seconds(metrics))
        with self.clock.phase("record"):
            path = self._run.rollouts_file(self.num_steps)
            batch = result.batch
            write_rollouts(path, self.num_steps, batch.groups, batch.train_groups, result.token_ratios)
            self._timeline.write(self.num_steps, "rollout", result.batch.spans)
            self._timeline.write(self.num_steps, "learner", result.spans)
            self._metrics.write(self.num_steps, metrics)
            self._view.step(self.num_steps, self._recipe.steps, metrics)
            self._name_losses()
            self.watch(metrics)

    def _mark(self) -> None:
        """Put what the recorder itself did since the last call on the timeline."""
        self._timeline.write(self.num_steps, "learner", self.clock.spans)
        self.clock.spans.clear()

    def _name_losses(self) -> None:
        """Tell of rows and prompts that the step lost."""
        bad = list(self._prompts.bad.items())
        for prompt_id, reason in bad[self._num_bad :]:
            self._view.note(f"row {prompt_id} left out: {reason}")
        self._num_bad = len(bad)
        for failed in self._failed():
            self._view.note(f"no answer to {failed.prompt_id}: {failed.problem}")

    def after_step(self) -> None:
        """Save and evaluate where due. The checkpoint is made whole while the next step runs."""
        if self._saving and self._saving.done():
            self.wait_until_saved()
        if self._save_is_due():
            self._begin_save()
        self.evaluate_if_due()
        self._mark()

    def evaluate_if_due(self) -> None:
        """After the last recorded step, where that is not on record already: a run may end between the two."""
        every, step = self._recipe.eval.every, self.num_steps
        if not every or step % every or step in (0, self._recipe.steps):
            return
        if any(name.startswith("eval/") for name in read_metrics(self._run).get(step, {})):
            return
        with self.clock.phase("eval"):
            result = self._evaluate(self._recipe.eval.max_rows)
        write_result(self._run.eval_file(step), result)
        metrics = measured(result)
        self._metrics.write(step, metrics)
        self._view.evaluated(metrics)
        self.watch(metrics)

    def watch(self, metrics: Mapping[str, float]) -> None:
        """Tell of the alarms that metrics of the last step, or of an evaluation after it, fire."""
        new = self._alarms.add(self.num_steps, metrics)
        if not new:
            return
        self._run.set_in_summary("alarms", [alarm.to_json() for alarm in self._alarms.fired])
        for alarm in new:
            self._view.alarm(alarm)
        if self._recipe.on_alarm == "stop" and self.num_steps < self._recipe.steps:
            self._stop(new[0].title)

    def save(self) -> Path:
        """A whole checkpoint of the last recorded step, unless there is one already."""
        self._begin_save()
        self.wait_until_saved()
        return self._run.checkpoint(self.num_steps)

    def wait_until_saved(self) -> None:
        """Return once the last checkpoint is whole. CheckpointError: it could not be made so."""
        saving, self._saving = self._saving, None
        if saving:
            with self.clock.phase("checkpoint"):
                saving.result()

    def _begin_save(self) -> None:
        """Write the files of a checkpoint, and leave it to the thread to make it one."""
        self.wait_until_saved()
        if self._saved_step == self.num_steps and self._run.checkpoint(self.num_steps).exists():
            return
        self._view.phase("checkpoint")
        with self.clock.phase("checkpoint"):
            state = TrainState(
                step=self.num_steps,
                data_position=self._data_position,
                seed=self._recipe.seed,
                policy_version=self._learner.policy_version,
                bad=dict(self._prompts.bad),
                solved=dict(self._prompts.solved),
                variances=dict(self._variances),
                totals=self.clock.seconds,
            )
            finish = begin_checkpoint(self._run, self.num_steps, self._write, state, self._recipe.keep_checkpoints)
        self._saving = self._saving_thread.submit(finish)
        self._saved_step, self._saved_at = self.num_steps, self._now()
        if self._trackers and self._groups:
            self._trackers.log_rollouts(self.num_steps, self._groups)

    def _save_is_due(self) -> bool:
        recipe = self._recipe
        is_old = recipe.save_every_s is not None and self._now() - self._saved_at >= recipe.save_every_s
        return is_old or self.num_steps % recipe.save_every == 0 or self.num_steps == recipe.steps

    def _write(self, directory: Path) -> None:
        self._learner.save(directory)
        if self._next_batch is not None:
            write_ahead_batch(directory, self._next_batch)


def phase_seconds(metrics: Mapping[str, float]) -> dict[str, float]:
    """Phase -> seconds of a step. Parts of `update`, and what ran behind the step before, are left out."""
    named = {name.removeprefix("seconds/"): s for name, s in metrics.items() if name.startswith("seconds/")}
    return {name: seconds for name, seconds in named.items() if not name.startswith(("learner_", "ahead_"))}
