"""Recipe -> cluster, pool, learner, prompts -> train(). The one place that builds the real parts."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rft.clock import Clock
from rft.data.dataset import PromptOrder, read_rows, to_prompt
from rft.data.decoded_rows import WHOLE, Shard, UsableRow, usable_rows
from rft.data.prefetch import ClipPrefetch
from rft.data.video import ClipCache
from rft.errors import Interrupted
from rft.evaluation.baselines import Baselines, baselines
from rft.evaluation.comparison import Comparison
from rft.evaluation.evaluate import EvalResult
from rft.evaluation.evaluate import evaluate as evaluate_prompts
from rft.evaluation.predictions import read_result, write_result
from rft.evaluation.second_look import TwoPass
from rft.parity.check import compare_sides, settle
from rft.recipe import Recipe
from rft.rollout.pool import WorkerPool
from rft.rollout_batches import RolloutBatches
from rft.runs.ahead_batch import read_ahead_batch
from rft.runs.checkpoint import load_state
from rft.runs.learning_curves import learning_curves
from rft.runs.library_logs import quiet_libraries
from rft.runs.metrics import MetricsWriter
from rft.runs.recorder import RunRecorder
from rft.runs.run_dir import RunDir
from rft.runs.stop import StopSignal
from rft.runs.views import View, open_view
from rft.train import train as run_steps

INTERRUPTED = 130
"""Exit status after Ctrl-C."""


def train(recipe: Recipe, name: str, resume: bool) -> int:
    """Run a whole recipe in its run folder; returns the exit status."""
    run = RunDir.create(recipe.run_dir or Path("runs") / name, resume)
    with ExitStack() as closing:
        closing.callback(run.release)
        closing.enter_context(quiet_libraries(run.log))
        view = open_view(f"rft train {name} -> {run.path}")
        closing.callback(view.close)
        stop = closing.enter_context(StopSignal(view.note))
        try:
            return TrainingRun(recipe, run, view, stop, closing).go(resume)
        except Interrupted:
            view.note(f"stopped; {run.path} continues with --resume")
            return INTERRUPTED


class TrainingRun:
    """One run, from its recipe to the closing table. What it opens is closed by `closing`, last opened first."""

    def __init__(self, recipe: Recipe, run: RunDir, view: View, stop: StopSignal, closing: ExitStack) -> None:
        self.recipe, self.run, self.view, self.stop, self.closing = recipe, run, view, stop, closing
        self.clips_dir = recipe.video.cache_dir or run.clips
        self.clips = closing.enter_context(open_clips(recipe, self.clips_dir))
        earlier: dict[str, float] = run.read_summary().get("seconds", {})
        self.clock = Clock({name: s for name, s in earlier.items() if not name.startswith("grpo/")})

    def go(self, resume: bool) -> int:
        """Raises Interrupted where the user stopped it outside of the steps."""
        from rft.actors.cluster import cluster
        from rft.actors.learner import LearnerActors
        from rft.actors.rollout import start_pool

        recipe, run, view = self.recipe, self.run, self.view
        checkpoint = run.latest_checkpoint() if resume else None
        state = load_state(checkpoint) if checkpoint else None
        for change in run.recipe_changes(recipe) if resume else ():
            view.note(f"changed since the run began: {change}")
        run.write_recipe(recipe)
        run.write_versions()
        with self.clock.phase("setup"):
            view.phase("starting Ray")
            self.closing.enter_context(cluster())
            # The engines start while clips are decoded and the supervised stage runs; the learner's first weights
            # replace theirs.
            pool = start_pool(recipe.model, recipe, self.clips_dir, self.stop)
            self.closing.callback(pool.close)
            order = self.prompt_order()
            held_out = self.usable(recipe.data.eval, "held-out")
            blind = self.blind(held_out, order)
        evaluator = Evaluator(recipe, pool, held_out, view)
        # Without GRPO the supervised stage is what is measured, from the model that the engines still hold.
        before = None if recipe.steps else self.evaluate_once("base", evaluator)
        model = self.cold_start()
        with self.clock.phase("setup"):
            view.phase("starting engines and learner")
            pool.wait_until_ready()
            learner = LearnerActors(recipe, model, self.clips_dir)
            self.closing.callback(learner.close)
            next_batch = None
            if checkpoint and state:
                view.note(f"continuing after step {state.step} of {recipe.steps}")
                learner.load(checkpoint)
                order.position, order.bad, order.solved = state.data_position, dict(state.bad), dict(state.solved)
                next_batch = read_ahead_batch(checkpoint, order, recipe, state.variances)
            pool.load_weights(learner.publish_weights())
            view.phase("comparing engine and learner")
            found = compare_sides(order.prompts, recipe, self.clips, pool, learner, view.note)
            run.add_to_summary("parity", found.to_json())
            settle(found, recipe, view.note)
        before = before or self.evaluate_once("cold_start", evaluator)
        record = RunRecorder(recipe, run, view, learner, order, evaluator, pool.failed, resumed=state)
        self.closing.callback(record.close)
        try:
            batches = RolloutBatches(
                recipe,
                order,
                pool,
                learner.prefetch,
                record.progress,
                first_step=record.num_steps,
                next_batch=next_batch,
                variances=state.variances if state else None,
            )
            run_steps(batches, pool, learner, record, self.stop)
        except Interrupted:
            view.note("the evaluation between two steps was left out")
        saved = record.save()
        self.clock.add({f"grpo/{name}": seconds for name, seconds in record.clock.seconds.items()})
        self.write_seconds()
        if self.stop():
            view.note(f"after step {record.num_steps} of {recipe.steps}; checkpoint: {saved}")
            raise Interrupted
        after = self.evaluate_once("final", evaluator)
        self.write_seconds()
        self.sum_up(before, after, blind)
        return 0

    def prompt_order(self) -> PromptOrder:
        recipe = self.recipe
        self.view.phase("reading data")
        rows = read_rows(recipe.data.train, recipe.data.video_root, recipe.tasks)
        prompts = [to_prompt(row, recipe) for row in rows]
        prefetch = ClipPrefetch(self.clips, recipe.video.decode_ahead)
        self.closing.callback(prefetch.close)
        share, fewest = recipe.data.max_bad_share, recipe.prompts_per_step
        return PromptOrder(prompts, recipe.seed, self.clips, share, prefetch.prefetch, fewest)

    def usable(self, paths: tuple[Path, ...], what: str) -> tuple[UsableRow, ...]:
        return usable(paths, self.recipe, self.clips, self.view, what)

    def blind(self, held_out: tuple[UsableRow, ...], order: PromptOrder) -> Baselines:
        """What answers that never look at the clip score on the held-out rows, fitted on the training targets."""
        targets = defaultdict(list)
        for prompt in order.prompts:
            targets[prompt.task].append(prompt.target)
        found = baselines([r.prompt for r in held_out], [r.duration_s for r in held_out], targets, self.recipe.seed)
        self.run.add_to_summary("baselines", found.to_json())
        self.run.add_to_summary("baseline_intervals", found.intervals_json())
        return found

    def cold_start(self) -> str:
        """The model that GRPO starts from: the recipe's, or what the supervised stage makes of it, once per run."""
        from rft.actors.cold_start import ColdStart

        recipe, directory = self.recipe, self.run.cold_start
        if recipe.cold_start is None:
            return recipe.model
        if not directory.exists():
            with self.clock.phase("setup"):
                shown = self.usable(recipe.cold_start.data, "cold-start")
            self.view.phase("cold start", recipe.cold_start.steps)
            with self.clock.phase("cold_start"), MetricsWriter(self.run) as metrics:
                stage = ColdStart(recipe, [row.demonstration(recipe) for row in shown], self.clips_dir, directory)
                done = 0
                for step, loss in stage.losses(self.stop):
                    metrics.write(step, {"loss": loss}, stage="cold_start")
                    self.view.advance(step - done)
                    done = step
        return str(directory)

    def evaluate_once(self, name: str, evaluator: "Evaluator") -> EvalResult | None:
        """The held-out rows under the current policy, or as measured before an interrupt; None without rows."""
        if not evaluator.held_out:
            return None
        path = self.run.eval_file(name)
        if not path.exists():
            with self.clock.phase(f"eval_{name}"):
                write_result(path, evaluator(None))
        result = read_result(path)
        self.run.add_to_summary("eval", {name: result.to_json()})
        self.view.evaluated(result.metrics())
        return result

    def write_seconds(self) -> None:
        self.run.add_to_summary("seconds", {name: round(s, 2) for name, s in self.clock.seconds.items()})

    def sum_up(self, before: EvalResult | None, after: EvalResult | None, blind: Baselines) -> None:
        """The closing tables and the learning curves."""
        if before and after:
            names = ("cold start" if self.recipe.cold_start else "given model", "GRPO")
            if self.recipe.steps == 0:
                names = ("given model", "cold start")
            comparison = Comparison(before, after, blind, *names)
            self.run.add_to_summary("change", comparison.to_json())
            self.run.add_to_summary("verdict", {"text": comparison.verdict()})
            self.view.table(comparison.overview())
            self.view.table(comparison.table())
        for chart in learning_curves(self.run):
            self.view.chart(chart)
        self.view.note(f"run folder: {self.run.path} (rft report {self.run.path} makes a page of it)")


@contextmanager
def open_clips(recipe: Recipe, directory: Path) -> Iterator[ClipCache]:
    clips = ClipCache.of(recipe, directory)
    try:
        yield clips
    finally:
        clips.close()


def usable(
    paths: tuple[Path, ...],
    recipe: Recipe,
    clips: ClipCache,
    view: View,
    what: str,
    task: str | None = None,
    shard: Shard = WHOLE,
) -> tuple[UsableRow, ...]:
    """usable_rows, with its progress in the view."""
    return usable_rows(
        paths,
        recipe,
        clips,
        task,
        shard,
        on_total=lambda total: view.phase(f"decoding {what} clips", total),
        on_row=view.advance,
        on_bad=view.note,
    )


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Measures the policy that the pool holds."""

    recipe: Recipe
    pool: WorkerPool
    held_out: tuple[UsableRow, ...]
    view: View

    def __call__(self, max_rows: int | None = None) -> EvalResult:
        """On the first `max_rows` held-out rows, or on all."""
        rows = self.held_out[:max_rows]
        num_samples, look = self.recipe.eval.num_samples, self.recipe.eval.second_look
        passes = look and TwoPass(self.pool, {row.prompt.prompt_id: row.row for row in rows}, self.recipe, look)
        self.view.phase("evaluation", len(rows) * (2 if num_samples else 1))
        result = evaluate_prompts(
            passes or self.pool,
            [row.prompt for row in rows],
            [row.duration_s for row in rows],
            self.recipe.sampling.sampling(),
            num_samples,
            seed=self.recipe.seed,
            on_progress=self.view.advance,
        )
        for failed in self.pool.failed():
            self.view.note(f"no answer to {failed.prompt_id}: {failed.problem}")
        if passes:
            self.view.note(f"second looks: {passes.num_second_looks} of {passes.num_questions} answers")
        return result
