"""Recipe -> cluster, pool, learner, prompts -> train(). The one place that builds the real parts."""

import os
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

from rft.actors.cpu import decode_processes
from rft.actors.session import ALARMED, INTERRUPTED, Session, session
from rft.clock import Clock
from rft.data.dataset import PromptOrder, UsableRow, recipe_rows, to_prompt
from rft.data.video import ClipPrefetch
from rft.errors import Interrupted, LearnerError, RftError
from rft.evaluation.baselines import Baselines, measure_baselines
from rft.evaluation.comparison import Comparison
from rft.evaluation.evaluate import EvalResult
from rft.evaluation.predictions import read_result, write_result
from rft.evaluation.views import measured, reliance_table
from rft.parity.check import compare_engine_and_learner, pick_prompts, report_or_raise
from rft.recipe import Recipe
from rft.rollout.pool import WorkerPool
from rft.rollout_batches import RolloutBatch, RolloutBatches
from rft.runs.ahead_batch import read_ahead_batch
from rft.runs.alarm_rules import HeldOutSet
from rft.runs.alarms import Alarms, alarms_line, held_out_sets, read_alarms
from rft.runs.checkpoint import TrainState, load_state
from rft.runs.code_record import changed_code, refuse_changed_code, write_code_record
from rft.runs.evaluator import Evaluator
from rft.runs.learning_curves import learning_curves
from rft.runs.metrics import MetricsWriter, read_metrics
from rft.runs.recorder import RunRecorder
from rft.runs.run_dir import RunDir
from rft.runs.trackers.background import Trackers
from rft.scoring.group import score_by_recipe
from rft.scoring.judge import Judge
from rft.train import train as train_steps
from rft.types import Demonstration

if TYPE_CHECKING:
    from rft.actors.learner import LearnerActors


def train(recipe: Recipe, name: str, resume: bool, accept_changed_code: bool = False) -> int:
    """Run a whole recipe in its run folder; returns the exit status.

    A run that continues refuses rewards, tasks and losses whose files changed, unless `accept_changed_code`.
    """
    path = recipe.run_dir or Path("runs") / name
    if resume and not accept_changed_code:
        refuse_changed_code(RunDir(path), recipe)
    run = RunDir.create(path, resume)
    try:
        with session(recipe, f"rft train {name} -> {run.path}", run) as opened:
            try:
                training = TrainingRun(opened, run)
                opened.closing.callback(training.close_trackers)
                return training.go(resume)
            except Interrupted:
                opened.view.note(f"stopped; {run.path} continues with --resume")
                return ALARMED if opened.stop.by_alarm else INTERRUPTED
            except RftError:
                if last := run.latest_checkpoint():
                    opened.view.note(f"last checkpoint: {last}")
                    opened.view.note(f"to continue: rft train {run.recipe} run_dir={run.path} --resume")
                raise
    finally:
        run.release()


class TrainingRun:
    """One run, from its recipe to the closing table."""

    def __init__(self, opened: Session, run: RunDir) -> None:
        self.session, self.recipe, self.run = opened, opened.recipe, run
        # A copy of the cache may be used from threads, and its reads are not counted as the run's.
        self.trackers = Trackers(self.recipe, run, copy(opened.clips).find, opened.view.note)
        self.held_out_sets: dict[str, HeldOutSet] = {}
        """What alarms compare evaluations with."""
        self.num_restarts = 0
        """Of the learner, and of the supervised stage."""
        self.judge: Judge | None = None
        earlier: dict[str, float] = run.read_summary().get("seconds", {})
        self.clock = Clock({name: s for name, s in earlier.items() if not name.startswith("grpo/")})

    def go(self, resume: bool) -> int:
        """Raises Interrupted where the user stopped it outside of the steps."""
        recipe, run, view = self.recipe, self.run, self.session.view
        state = self.saved_state() if resume else None
        for change in run.recipe_changes(recipe) if resume else ():
            view.note(f"changed since the run began: {change}")
        for alarm in read_alarms(run):
            view.alarm(alarm)
        for file in changed_code(run, recipe) if resume else ():
            view.note(f"changed since the run began, as accepted: {file}")
        run.write_recipe(recipe)
        write_code_record(run, recipe)
        run.write_versions()
        with self.clock.phase("setup"):
            view.phase("starting Ray")
            # The engines start while clips are decoded and the supervised stage runs; the learner's first weights
            # replace theirs.
            pool = self.session.start_pool(recipe.learner.num_ranks)
            self.judge = self.session.start_judge(run)
            order = self.prompt_order()
            held_out = self.session.usable_rows(recipe.data.eval, "held-out")
            baselines = self.baselines(held_out, order)
        evaluator = Evaluator(recipe, pool, held_out, view)
        # Without GRPO the supervised stage is what is measured, from the model that the engines still hold.
        before = None if recipe.steps else self.evaluate_once("base", evaluator)
        model = self.cold_start(pool)
        started, after = self.learn(model, state, pool, order, evaluator)
        self.write_seconds()
        self.sum_up(before or started, after, baselines)
        return 0

    def learn(
        self, model: str, state: TrainState | None, pool: WorkerPool, order: PromptOrder, evaluator: Evaluator
    ) -> tuple[EvalResult | None, EvalResult | None]:
        """All GRPO steps from `state` on; returns the evaluations before the first and after the last.

        A learner that ended or hangs starts again from the last checkpoint, as often as it may.
        """
        while True:
            try:
                return self.learn_from(state, model, pool, order, evaluator)
            except LearnerError as error:
                self.count_restart(error, "from the last checkpoint")
                state = self.restored_state(order)

    def learn_from(
        self, state: TrainState | None, model: str, pool: WorkerPool, order: PromptOrder, evaluator: Evaluator
    ) -> tuple[EvalResult | None, EvalResult | None]:
        """As `learn`, by one learner. LearnerError: it ended or hangs, and all of its processes are gone."""
        with closing(self.start_learner(model, pool)) as learner:
            with self.clock.phase("setup"):
                next_batch = self.restore(state, learner, order) if state else None
                pool.load_weights(learner.publish_weights())
                self.compare_engine_and_learner(order, pool, learner)
            before = self.evaluate_once("cold_start", evaluator) if self.recipe.steps else None
            record = RunRecorder(
                self.recipe,
                self.run,
                self.session.view,
                learner,
                order,
                evaluator,
                pool.failed,
                resumed=state,
                alarms=self.recalled_alarms(before),
                trackers=self.trackers,
                stop=self.session.stop.after_alarm,
            )
            record.evaluate_if_due()
            # Rewards that show frames find them where the clips of the run are.
            clips = self.recipe.video.model_copy(update={"cache_dir": self.session.clips_dir})
            batches = RolloutBatches(
                self.recipe.model_copy(update={"video": clips}),
                order,
                pool,
                learner.prefetch,
                record.progress,
                first_step=record.num_steps,
                next_batch=next_batch,
                variances=state.variances if state else None,
                score=self.judge.score if self.judge else score_by_recipe,
                score_counters=self.judge.counters if self.judge else dict,
            )
            self.run_steps(batches, pool, learner, record)
            after = self.evaluate_once("final", evaluator)
            if after and self.recipe.steps:
                record.watch(after.metrics())
            return before, after

    def saved_state(self) -> TrainState | None:
        """Of the newest checkpoint; None where there is none."""
        checkpoint = self.run.latest_checkpoint()
        return load_state(checkpoint) if checkpoint else None

    def count_restart(self, error: LearnerError, place: str) -> None:
        """Tell that learning processes start again at `place`; raises `error` where they may not."""
        if self.num_restarts == self.recipe.learner.max_restarts or self.session.stop():
            raise error
        self.num_restarts += 1
        self.session.view.note(f"the learner is started again {place}: {error}")

    def restored_state(self, order: PromptOrder) -> TrainState | None:
        """The state from which the learner starts again; record and `order` are set back to it."""
        state = self.saved_state()
        self.run.cut_after(state.step if state else 0)
        if state is None:  # else the recorder does, as in any run that continues
            self.trackers.cut_after(0)
        order.position, order.bad, order.solved = 0, {}, {}
        return state

    def recalled_alarms(self, before: EvalResult | None) -> Alarms:
        """The alarms of the run so far, with all that they go by: what was measured `before` GRPO, and its steps."""
        alarms = Alarms(self.recipe, self.held_out_sets, read_alarms(self.run))
        self.run.set_in_summary("alarms", [alarm.to_json() for alarm in alarms.fired])
        alarms.recall({0: before.metrics() if before else {}} | read_metrics(self.run))
        return alarms

    def prompt_order(self) -> PromptOrder:
        recipe = self.recipe
        self.session.view.phase("reading data")
        rows = recipe_rows(recipe.data.train, recipe)
        prompts = [to_prompt(row, recipe) for row in rows]
        prefetch = ClipPrefetch(self.session.clips, decode_processes(recipe, len(os.sched_getaffinity(0))))
        self.session.closing.callback(prefetch.close)
        share, fewest = recipe.data.max_bad_share, recipe.prompts_per_step
        return PromptOrder(
            prompts, recipe.seed, self.session.clips, share, prefetch.prefetch, fewest, by_clip=recipe.video.stream
        )

    def baselines(self, held_out: tuple[UsableRow, ...], order: PromptOrder) -> Baselines:
        """What answers that never look at the clip score on the held-out rows, fitted on the training targets."""
        targets = defaultdict(list)
        for prompt in order.prompts:
            targets[prompt.task].append(prompt.target)
        baselines = measure_baselines([row.prompt for row in held_out], targets, self.recipe.seed)
        self.run.add_to_summary("baselines", baselines.to_json())
        self.run.add_to_summary("baseline_intervals", baselines.intervals_json())
        self.held_out_sets = held_out_sets(baselines)
        return baselines

    def cold_start(self, pool: WorkerPool) -> str:
        """The model that GRPO starts from: the recipe's, or what the supervised stage makes of it, once per run."""
        recipe, directory = self.recipe, self.run.cold_start
        if recipe.cold_start is None:
            return recipe.model
        if not directory.exists():
            with self.clock.phase("setup"):
                shown = self.session.usable_rows(recipe.cold_start.data, "cold-start")
            if recipe.rollout.share_gpu:  # engines measure and take their share of a GPU that nobody else uses
                self.session.view.phase("starting engines")
                pool.wait_until_ready()
            rows = [row.demonstration(recipe) for row in shown]
            while not directory.exists():
                try:
                    with self.clock.phase("cold_start"):
                        self.learn_demonstrations(rows, directory)
                except LearnerError as error:
                    self.count_restart(error, "with the supervised stage")
        return str(directory.absolute())

    def learn_demonstrations(self, rows: Sequence[Demonstration], directory: Path) -> None:
        """The supervised stage from its first step on; what it leaves stands at `directory` once it is done."""
        from rft.actors.cold_start import run_cold_start

        assert self.recipe.cold_start is not None
        self.session.view.phase("cold start", self.recipe.cold_start.steps)
        self.run.cut_cold_start()
        metrics, done = MetricsWriter(self.run, self.trackers), 0
        for step, line in run_cold_start(self.recipe, rows, self.session.clips_dir, directory, self.session.stop):
            metrics.write(step, line, stage="cold_start")
            self.session.view.advance(step - done)
            done = step

    def start_learner(self, model: str, pool: WorkerPool) -> "LearnerActors":
        """The learner of `model`, once the engines have started."""
        from rft.actors.learner import LearnerActors

        with self.clock.phase("setup"):
            self.session.view.phase("starting engines and learner")
            pool.wait_until_ready()
            if self.judge:
                self.judge.url()
            return LearnerActors(self.recipe, model, self.session.clips_dir, self.session.stop)

    def restore(self, state: TrainState, learner: "LearnerActors", order: PromptOrder) -> RolloutBatch | None:
        """Continue from a checkpoint; returns the batch that was sampled ahead, where it holds one."""
        checkpoint = self.run.checkpoint(state.step)
        self.session.view.note(f"continuing after step {state.step} of {self.recipe.steps}")
        learner.load(checkpoint)
        order.position, order.bad, order.solved = state.data_position, dict(state.bad), dict(state.solved)
        return read_ahead_batch(checkpoint, order, self.recipe, state.variances)

    def compare_engine_and_learner(self, order: PromptOrder, pool: WorkerPool, learner: "LearnerActors") -> None:
        """Raises ParityError where they differ and the recipe says to stop."""
        view = self.session.view
        view.phase("comparing engine and learner")
        recipe, clips = self.recipe, self.session.clips
        prompts = pick_prompts(order.prompts, clips, recipe.parity.prompts_per_task, recipe.seed, view.note)
        report = compare_engine_and_learner(prompts, recipe, pool, learner)
        self.run.add_to_summary("parity", report.to_json())
        report_or_raise(report, recipe, view.note)

    def run_steps(
        self, batches: RolloutBatches, pool: WorkerPool, learner: "LearnerActors", record: RunRecorder
    ) -> None:
        """All GRPO steps, with a checkpoint at their end. Raises Interrupted where the user stopped them."""
        view, stop = self.session.view, self.session.stop
        try:
            train_steps(batches, pool, learner, record, stop)
        except Interrupted:
            view.note("the evaluation between two steps is left to --resume")
        finally:
            record.wait_until_saved()  # before anything else begins from the last checkpoint
        saved = record.save()
        self.clock.add({f"grpo/{name}": seconds for name, seconds in record.clock.seconds.items()})
        self.write_seconds()
        if stop():
            view.note(f"after step {record.num_steps} of {self.recipe.steps}; checkpoint: {saved}")
            raise Interrupted

    def evaluate_once(self, name: str, evaluator: Evaluator) -> EvalResult | None:
        """The held-out rows under the current policy, or as measured before an interrupt; None without rows."""
        if not evaluator.held_out:
            return None
        path = self.run.eval_file(name)
        if not path.exists():
            with self.clock.phase(f"eval_{name}"):
                write_result(path, evaluator(None))
        result = read_result(path)
        self.run.add_to_summary("eval", {name: result.to_json()})
        self.session.view.evaluated(measured(result))
        return result

    def close_trackers(self) -> None:
        if missed := self.trackers.close():
            self.run.set_in_summary("trackers", missed)

    def write_seconds(self) -> None:
        self.run.add_to_summary("seconds", {name: round(s, 2) for name, s in self.clock.seconds.items()})

    def sum_up(self, before: EvalResult | None, after: EvalResult | None, baselines: Baselines) -> None:
        """The closing tables and the learning curves."""
        view = self.session.view
        if before and after:
            names = ("cold start" if self.recipe.cold_start else "given model", "GRPO")
            if self.recipe.steps == 0:
                names = ("given model", "cold start")
            comparison = Comparison(before, after, baselines, *names)
            self.run.add_to_summary("change", comparison.to_json())
            self.run.add_to_summary("verdict", {"text": comparison.verdict()})
            view.table(comparison.overview())
            view.table(comparison.table())
            if relied := reliance_table(after):
                view.table(relied)
            self.trackers.log_table(comparison.overview())
        for chart in learning_curves(self.run):
            view.chart(chart)
        if self.recipe.steps:
            view.note(alarms_line(read_alarms(self.run)))
        view.note(f"run folder: {self.run.path} (rft report {self.run.path} makes a page of it)")
