"""`rft eval` of a model: completions for rows, and their metrics."""

import json
import sys
from pathlib import Path

from rft.actors.session import session
from rft.data.dataset import Shard
from rft.evaluation.baselines import measure_baselines
from rft.evaluation.comparison import figures, result_tables
from rft.evaluation.predictions import write_result
from rft.evaluation.protocols import Protocol
from rft.evaluation.views import reliance_table
from rft.recipe import Recipe
from rft.runs.evaluator import Evaluator


def evaluate(
    recipe: Recipe,
    task: str | None,
    shard: Shard,
    output: Path | None,
    as_json: bool,
    protocol: Protocol | None = None,
) -> None:
    """Measure recipe.model on rows of recipe.data.eval and print the metrics.

    `task`: the only one that is measured; None: all. `output`: file for every completion with its values. `protocol`:
    whose settings the recipe has already.
    """
    with session(recipe, f"rft eval {recipe.model}", stream=sys.stderr if as_json else sys.stdout) as opened:
        rows = opened.usable_rows(recipe.data.eval, "held-out", task, shard)
        result = Evaluator(recipe, opened.start_pool(), rows, opened.view, protocol)()
        baselines = measure_baselines([row.prompt for row in rows], {}, recipe.seed)
        if output:
            write_result(output, result)
        if as_json:
            print(json.dumps(figures(result, baselines)))
        else:
            relied = reliance_table(result)
            for table in (*result_tables(result, baselines), *((relied,) if relied else ())):
                opened.view.table(table)
            if protocol:
                opened.view.note(f"the protocol's figures are those of the parser {protocol.parser}")
