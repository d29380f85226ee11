"""Recipe -> cluster, pool, learner, prompts -> train() or evaluate(). The one place that builds the real parts."""

import json
import signal
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from rft.checkpoint import TrainState, load_state
from rft.comparison import Comparison, result_table
from rft.data.dataset import PromptOrder, missing_videos, read_rows, to_prompt
from rft.data.frames import ClipError
from rft.data.video import ClipCache
from rft.errors import DataError, Interrupted
from rft.evaluate import Baselines, EvalResult, baselines, read_result, write_result
from rft.evaluate import evaluate as evaluate_prompts
from rft.live import View, open_view
from rft.metrics import Clock, MetricsWriter
from rft.quiet import quiet_libraries
from rft.recipe import Recipe
from rft.recorder import RunRecorder
from rft.run_dir import RunDir
from rft.tasks import TASKS
from rft.tasks.types import Row
from rft.train import RolloutPool
from rft.train import train as run_steps
from rft.types import Demonstration, Prompt

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
        stop = closing.enter_context(StopSignal(view))
        return TrainingRun(recipe, run, view, stop, closing).go(resume)


class StopSignal:
    """Ctrl-C and SIGTERM: the first asks the run to stop where it is safe, the second ends it at once."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._asked = False
        self._before: dict[signal.Signals, object] = {}

    def __call__(self) -> bool:
        return self._asked

    def __enter__(self) -> Self:
        self._before = {s: signal.signal(s, self._handle) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal itself returned

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        # From a thread: the view may be in the middle of a line here.
        text = "stopping at the next safe point, with a checkpoint; once more to stop at once"
        threading.Thread(target=self._view.note, args=(text,)).start()


@dataclass
class TrainingRun:
    """The parts of one run, built in order: data, cluster, engines, cold start, learner."""

    recipe: Recipe
    run: RunDir
    view: View
    stop: Callable[[], bool]
    closing: ExitStack
    clock: Clock = field(default_factory=Clock)

    @property
    def clips_dir(self) -> Path:
        return self.recipe.video.cache_dir or self.run.clips

    def go(self, resume: bool) -> int:
        from rft.cluster import cluster
        from rft.learner_actors import LearnerActors
        from rft.rollout.worker import start_pool

        recipe, run, view = self.recipe, self.run, self.view
        checkpoint = run.latest_checkpoint() if resume else None
        state = load_state(checkpoint) if checkpoint else None
        for change in run.recipe_changes(recipe) if resume else ():
            view.note(f"changed since the run began: {change}")
        run.write_recipe(recipe)
        self.clock.add({k: s for k, s in run.read_summary().get("seconds", {}).items() if not k.startswith("grpo/")})
        clips = open_clips(recipe, self.clips_dir)
        self.closing.callback(clips.close)
        with self.clock.phase("setup"):
            view.phase("reading data")
            order, held_out, blind = self.data(clips, state)
            view.phase("starting Ray")
            self.closing.enter_context(cluster())
            run.write_versions()
            # The engines start while the supervised stage runs; the learner's first weights replace theirs.
            pool = start_pool(recipe.model, recipe, self.clips_dir, self.stop)
            self.closing.callback(pool.close)
        try:
            model = self.cold_start(clips)
            with self.clock.phase("setup"):
                view.phase("starting engines and learner")
                pool.wait_until_ready()
                learner = LearnerActors(recipe, model, self.clips_dir)
                self.closing.callback(learner.close)
                if checkpoint:
                    learner.load(checkpoint)
                pool.load_weights(learner.publish_weights())
            evaluator = Evaluator(recipe, pool, held_out, view)
            before = self.evaluate_once("cold_start", evaluator)
        except Interrupted:
            view.note(f"stopped before the first step; {run.path} continues with --resume")
            return INTERRUPTED
        record = RunRecorder(recipe, run, view, learner, order, evaluator, resumed=state)
        self.closing.callback(record.close)
        first_step = state.step if state else 0
        if checkpoint:
            view.note(f"continuing after step {first_step} of {recipe.steps}")
        try:
            done = run_steps(recipe, order, pool, learner, record, first_step=first_step, should_stop=self.stop)
        except Interrupted:
            done = record.num_steps
        saved = record.save()
        self.clock.add({f"grpo/{name}": seconds for name, seconds in record.clock.seconds.items()})
        self.write_seconds()
        if done < recipe.steps or self.stop():
            view.note(f"stopped after step {done} of {recipe.steps}; continue with --resume. Checkpoint: {saved}")
            return INTERRUPTED
        after = self.evaluate_once("final", evaluator)
        self.sum_up(before, after, blind)
        return 0

    def data(
        self, clips: ClipCache, state: TrainState | None
    ) -> tuple[PromptOrder, tuple["UsableRow", ...], Baselines]:
        """Training prompts in order, held-out prompts with their clips decoded, and what blind answers score there."""
        recipe = self.recipe
        train_rows = read_rows(recipe.data.train, recipe.data.video_root, recipe.tasks)
        order = PromptOrder(
            [to_prompt(row, recipe) for row in train_rows], recipe.seed, clips, recipe.data.max_bad_share
        )
        if state:
            order.position = state.data_position
            order.bad |= state.bad
        held_out = usable(recipe.data.eval, recipe, clips, self.view, "held-out")
        targets = defaultdict(list)
        for prompt in order.prompts:
            targets[prompt.task].append(prompt.target)
        blind = baselines([r.prompt for r in held_out], [r.duration_s for r in held_out], targets, recipe.seed)
        self.run.add_to_summary("baselines", blind.to_json())
        self.run.add_to_summary("baseline_intervals", blind.intervals_json())
        return order, held_out, blind

    def cold_start(self, clips: ClipCache) -> str:
        """The model that GRPO starts from: the recipe's, or what the supervised stage makes of it, once per run."""
        from rft.learner_actors import ColdStart

        recipe, directory = self.recipe, self.run.cold_start
        if recipe.cold_start is None:
            return recipe.model
        if not directory.exists():
            with self.clock.phase("setup"):
                shown = usable(recipe.cold_start.data, recipe, clips, self.view, "cold-start")
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
        """The last of summary.json, and the closing table."""
        self.write_seconds()
        if before and after:
            started = "after cold start" if self.recipe.cold_start else "before"
            comparison = Comparison(before, after, blind, before_name=started)
            self.run.add_to_summary("change", comparison.to_json())
            self.view.table(comparison.table())
        self.view.note(f"run folder: {self.run.path} (rft report {self.run.path} makes a page of it)")


def open_clips(recipe: Recipe, directory: Path) -> ClipCache:
    video = recipe.video
    return ClipCache(directory, video.cache_gib, video.decoder, video.decode_timeout_s)


@dataclass(frozen=True, slots=True)
class UsableRow:
    """A row whose clip could be decoded."""

    row: Row
    prompt: Prompt
    duration_s: float

    def demonstration(self, recipe: Recipe) -> Demonstration:
        """What the supervised stage imitates: the row's own text, or its target written out."""
        think = recipe.tasks[self.row.task].think
        return Demonstration(
            self.prompt, self.row.demonstration or TASKS[self.row.task].answer_text(self.prompt.target, think)
        )


def usable(
    paths: Sequence[Path], recipe: Recipe, clips: ClipCache, view: View, what: str, task: str | None = None
) -> tuple[UsableRow, ...]:
    """The rows of `paths`, or those of one task, with their clips decoded; one with a damaged clip is left out.

    DataError: videos are missing, or more are damaged than data.max_bad_share allows.
    """
    rows = read_rows(paths, recipe.data.video_root, recipe.tasks) if paths else ()
    rows = tuple(row for row in rows if task in (None, row.task))
    if missing := missing_videos(rows):
        raise DataError(missing)
    view.phase(f"decoding {what} clips", len(rows))
    found, bad = [], []
    for row in rows:
        prompt = to_prompt(row, recipe)
        try:
            found.append(UsableRow(row, prompt, clips.load(prompt.video).duration_s))
        except ClipError as error:
            bad.append(f"{row.id}: {error}")
            view.note(f"{what} row left out: {bad[-1]}")
        view.advance()
    if len(bad) > recipe.data.max_bad_share * len(rows):
        raise DataError(
            f"{len(bad)} of {len(rows)} {what} rows have videos that cannot be used, more than data.max_bad_share "
            f"{recipe.data.max_bad_share:g} allows; the first: {bad[0]}"
        )
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Measures the policy that the pool holds."""

    recipe: Recipe
    pool: RolloutPool
    held_out: tuple[UsableRow, ...]
    view: View

    def __call__(self, max_rows: int | None = None) -> EvalResult:
        """On the first `max_rows` held-out rows, or on all."""
        rows = self.held_out[:max_rows]
        num_samples = self.recipe.eval.num_samples
        self.view.phase("evaluation", len(rows) * (2 if num_samples else 1))
        return evaluate_prompts(
            self.pool,
            [row.prompt for row in rows],
            [row.duration_s for row in rows],
            self.recipe.sampling.sampling(),
            num_samples,
            seed=self.recipe.seed,
            on_progress=self.view.advance,
        )


def evaluate(recipe: Recipe, task: str | None, as_json: bool) -> int:
    """Measure recipe.model on the rows of recipe.data.eval, or those of one task, and print the figures.

    Returns the exit status.
    """
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="rft-eval-")))
        closing.enter_context(quiet_libraries(folder / "log.txt"))
        view = open_view(f"rft eval {recipe.model}", sys.stderr if as_json else sys.stdout)
        closing.callback(view.close)
        stop = closing.enter_context(StopSignal(view))
        from rft.cluster import cluster
        from rft.rollout.worker import start_pool

        clips_dir = recipe.video.cache_dir or folder / "clips"
        clips = open_clips(recipe, clips_dir)
        closing.callback(clips.close)
        rows = usable(recipe.data.eval, recipe, clips, view, "held-out", task)
        closing.enter_context(cluster())
        pool = start_pool(recipe.model, recipe, clips_dir, stop)
        closing.callback(pool.close)
        try:
            result = Evaluator(recipe, pool, rows, view)()
        except Interrupted:
            return INTERRUPTED
        blind = baselines([r.prompt for r in rows], [r.duration_s for r in rows], {}, recipe.seed)
        if as_json:
            print(json.dumps({"eval": result.to_json(), "baselines": blind.to_json()}))
        else:
            view.table(result_table(result, blind))
    return 0
