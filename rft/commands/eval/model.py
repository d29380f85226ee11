"""`rft eval` of a model: its answers to rows, and what they are worth."""

import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from rft.commands.eval.request import EvalRequest
from rft.errors import Interrupted
from rft.evaluation.baselines import baselines
from rft.evaluation.comparison import figures, result_tables
from rft.evaluation.predictions import write_result
from rft.launch import INTERRUPTED, Evaluator, open_clips, usable
from rft.recipe import Recipe
from rft.runs.library_logs import quiet_libraries
from rft.runs.stop import StopSignal
from rft.runs.views import open_view


def evaluate(recipe: Recipe, asked: EvalRequest, as_json: bool) -> int:
    """Measure recipe.model on the asked rows of recipe.data.eval, and print the figures. Returns the exit status."""
    with ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="rft-eval-")))
        closing.enter_context(quiet_libraries(folder / "log.txt"))
        view = open_view(f"rft eval {recipe.model}", sys.stderr if as_json else sys.stdout)
        closing.callback(view.close)
        stop = closing.enter_context(StopSignal(view.note))
        from rft.actors.cluster import cluster
        from rft.actors.rollout import start_pool

        clips_dir = recipe.video.cache_dir or folder / "clips"
        clips = closing.enter_context(open_clips(recipe, clips_dir))
        rows = usable(recipe.data.eval, recipe, clips, view, "held-out", asked.task, asked.shard)
        closing.enter_context(cluster())
        pool = start_pool(recipe.model, recipe, clips_dir, stop)
        closing.callback(pool.close)
        try:
            result = Evaluator(recipe, pool, rows, view)()
        except Interrupted:
            return INTERRUPTED
        blind = baselines([r.prompt for r in rows], [r.duration_s for r in rows], {}, recipe.seed)
        if asked.output:
            write_result(asked.output, result)
        if as_json:
            print(json.dumps(figures(result, blind)))
        else:
            for table in result_tables(result, blind):
                view.table(table)
    return 0
