"""`rft eval` of a model: completions for rows, and their metrics."""

import json
import sys
import tempfile
from pathlib import Path

from rft.actors.session import INTERRUPTED, session
from rft.commands.eval.request import EvalRequest
from rft.errors import Interrupted
from rft.evaluation.baselines import measure_baselines
from rft.evaluation.comparison import figures, result_tables
from rft.evaluation.predictions import write_result
from rft.recipe import Recipe
from rft.runs.evaluator import Evaluator


def evaluate(recipe: Recipe, request: EvalRequest, as_json: bool) -> int:
    """Measure recipe.model on the requested rows of recipe.data.eval and print the metrics. Returns the exit status."""
    title, stream = f"rft eval {recipe.model}", sys.stderr if as_json else sys.stdout
    with (
        tempfile.TemporaryDirectory(prefix="rft-eval-") as folder,
        session(recipe, title, Path(folder) / "log.txt", Path(folder) / "clips", stream) as opened,
    ):
        rows = opened.usable_rows(recipe.data.eval, "held-out", request.task, request.shard)
        pool = opened.start_pool()
        try:
            result = Evaluator(recipe, pool, rows, opened.view)()
        except Interrupted:
            return INTERRUPTED
        baselines = measure_baselines([r.prompt for r in rows], [r.duration_s for r in rows], {}, recipe.seed)
        if request.output:
            write_result(request.output, result)
        if as_json:
            print(json.dumps(figures(result, baselines)))
        else:
            for table in result_tables(result, baselines):
                opened.view.table(table)
    return 0
