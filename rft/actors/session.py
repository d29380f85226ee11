"""What a command that starts engines has open: log, view, stop signal, clips, and then Ray with the engines."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

from rft.actors.whole_paths import with_whole_paths
from rft.data.dataset import WHOLE, Shard, UsableRow, usable_rows
from rft.data.video import ClipCache
from rft.recipe import Recipe
from rft.rollout.pool import WorkerPool
from rft.runs.library_logs import quiet_libraries
from rft.runs.run_dir import RunDir
from rft.runs.stop import StopSignal
from rft.runs.views import View, open_view
from rft.scoring.judge import Judge

INTERRUPTED = 130
"""Exit status after Ctrl-C."""

ALARMED = 3
"""Exit status of a run that an alarm stopped."""


@dataclass(frozen=True, slots=True)
class Session:
    """What is open until a command ends."""

    recipe: Recipe
    view: View
    stop: StopSignal
    clips: ClipCache
    clips_dir: Path
    run_folder: Path | None
    """Where the command keeps what it learned; None: it learns nothing."""
    closing: ExitStack
    """Closes all of it and what is added, last opened first."""

    def start_pool(self, num_ranks: int = 0) -> WorkerPool:
        """Start Ray or join it, and start engines of the recipe's model in the background; what they need is imported
        only now.

        ClusterError: GPUs are too few for them and `num_ranks` learning processes, or nodes do not fit together.
        """
        from rft.actors.cluster import check_gpus, cluster
        from rft.actors.rollout import start_pool

        if self.recipe.cluster.joined_address() is None:
            self.closing.enter_context(cluster())
            if check_gpus(self.recipe, num_ranks) == 0:
                self.view.note("no GPU is found: the run is on the CPU")
        else:
            self._join(num_ranks)
        pool = start_pool(self.recipe.model, self.recipe, self.clips_dir, self.stop, self.view.note)
        self.closing.callback(pool.close)
        return pool

    def _join(self, num_ranks: int) -> None:
        """Take places on the recipe's cluster, and tell which."""
        from rft.actors.cluster import join
        from rft.actors.joined import reserve_places
        from rft.actors.nodes import check_nodes

        self.closing.enter_context(join(self.recipe.cluster))
        placement = reserve_places(self.recipe, num_ranks)
        self.view.table(placement.table())
        check_nodes(self.recipe, placement, self.run_folder)
        if not placement.on_gpus:
            self.view.note("no GPU is found: the run is on the CPU")

    def start_judge(self, run: RunDir) -> Judge | None:
        """Start the recipe's judge in the background, where it has one, once Ray is started."""
        from rft.actors.cluster import gpu_options
        from rft.actors.judge import start_judge

        if self.recipe.judge is None:
            return None
        options = gpu_options(self.recipe, "judge")
        judge = start_judge(self.recipe.judge, options, run.judge_cache, run.judge_log, self.stop, self.view.note)
        self.closing.callback(judge.close)
        return judge

    def usable_rows(
        self, paths: tuple[Path, ...], what: str, task: str | None = None, shard: Shard = WHOLE
    ) -> tuple[UsableRow, ...]:
        """`usable_rows` of rft/data, with its progress in the view; `what` names the clips there."""
        view = self.view
        return usable_rows(
            paths,
            self.recipe,
            self.clips,
            task,
            shard,
            on_total=lambda total: view.phase(f"decoding {what} clips", total),
            on_row=view.advance,
            on_bad=view.note,
        )


@contextmanager
def session(recipe: Recipe, title: str, run: RunDir | None = None, stream: TextIO | None = None) -> Iterator[Session]:
    """Opens what a command needs before Ray starts, and closes all that is open at its end.

    `run`: for the log of libraries, and for decoded clips where the recipe names no folder; None: a temporary folder.
    `stream`: of the view; default: standard output.
    """
    if recipe.cluster.joined_address():
        recipe = with_whole_paths(recipe)
    run_folder = run.path if run else None
    with ExitStack() as closing:
        run = run or RunDir(Path(closing.enter_context(TemporaryDirectory(prefix="rft-"))))
        closing.enter_context(quiet_libraries(run.log))
        view = open_view(title, stream)
        closing.callback(view.close)
        stop = closing.enter_context(StopSignal(view.note))
        clips_dir = (recipe.video.cache_dir or run.clips).absolute()
        clips = ClipCache.of(recipe, clips_dir)
        closing.callback(clips.close)
        yield Session(recipe, view, stop, clips, clips_dir, run_folder, closing)
