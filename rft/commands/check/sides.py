"""`rft check --deep`: engine and learner are started, and compared."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

from rft.data.dataset import read_rows, to_prompt
from rft.errors import Interrupted
from rft.launch import INTERRUPTED, open_clips
from rft.parity.check import compare_sides, settle, table
from rft.recipe import Recipe
from rft.runs.library_logs import quiet_libraries
from rft.runs.stop import StopSignal
from rft.runs.views import open_view


def check_sides(recipe: Recipe) -> int:
    """Start engine and learner, compare them on the recipe's training rows, and print the outcome; exit status.

    ParityError: they differ, and the recipe says to stop.
    """
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="rft-check-")))
        closing.enter_context(quiet_libraries(folder / "log.txt"))
        view = open_view(f"rft check --deep {recipe.model}")
        closing.callback(view.close)
        stop = closing.enter_context(StopSignal(view.note))
        from rft.actors.cluster import cluster
        from rft.actors.learner import LearnerActors
        from rft.actors.rollout import start_pool

        clips_dir = recipe.video.cache_dir or folder / "clips"
        clips = closing.enter_context(open_clips(recipe, clips_dir))
        rows = read_rows(recipe.data.train, recipe.data.video_root, recipe.tasks)
        view.phase("starting engines and learner")
        closing.enter_context(cluster())
        pool = start_pool(recipe.model, recipe, clips_dir, stop)
        closing.callback(pool.close)
        learner = LearnerActors(recipe, recipe.model, clips_dir)
        closing.callback(learner.close)
        try:
            pool.load_weights(learner.publish_weights())
            prompts = [to_prompt(row, recipe) for row in rows]
            view.phase("comparing engine and learner")
            found = compare_sides(prompts, recipe, clips, pool, learner, view.note)
        except Interrupted:
            return INTERRUPTED
        view.table(table(found))
        settle(found, recipe, view.note)
    return 0
