"""The recipe by which `rft eval` prompts a model: that of the run that trained it, a given one, or the defaults."""

import json
from collections.abc import Sequence
from pathlib import Path

from rft.commands.check.data import check_data, refuse_recipe
from rft.data.dataset import Shard
from rft.errors import Problem, RecipeError, near_name
from rft.evaluation.protocols import PROTOCOLS
from rft.recipe import Recipe, TaskRecipe
from rft.recipe.load import load_recipe, parse_recipe
from rft.recipe.model_folder import model_problems
from rft.runs.checkpoint import check_digests
from rft.runs.run_dir import RunDir
from rft.tasks import TASKS

LEVELS_UP = 4
"""Most folders between a checkpoint and its run folder."""


def parse_shard(text: str) -> Shard:
    """ "2/8" -> (2, 8). Raises RecipeError where it is no such pair."""
    index, _, count = text.partition("/")
    if index.isdecimal() and count.isdecimal() and int(index) < int(count):
        return int(index), int(count)
    raise RecipeError(f"--shard: {text!r} is not I/N with I from 0 to N-1, such as 0/8 for the first of eight.")


def eval_recipe(
    model: str,
    data: Sequence[Path],
    recipe_path: Path | None,
    video_root: Path | None,
    num_samples: int | None,
    overrides: Sequence[str],
    task: str | None = None,
    protocol: str | None = None,
) -> Recipe:
    """A checked recipe whose `data.eval` is `data`, which knows every task. Raises RecipeError with every problem.

    `task`: the only one that will be measured; None: all. `protocol`: a key of PROTOCOLS, whose settings `overrides`
    change.
    """
    folder = _policy_folder(model)
    path = recipe_path or _recipe_of_run(folder)
    files = {"train": [], "eval": [str(file) for file in data], "video_root": str(video_root) if video_root else None}
    # JSON is YAML: whatever the names hold, they arrive as they are.
    settings = [f"model={json.dumps(folder)}", f"data={json.dumps(files)}", "cold_start=null", *overrides]
    if num_samples is not None:
        settings.append(f"eval.num_samples={num_samples}")
    if protocol:
        given = {setting.partition("=")[0] for setting in settings}
        of_protocol = PROTOCOLS[protocol].settings
        settings += [f"{key}={value}" for key, value in of_protocol.items() if key not in given]
    recipe = load_recipe(path, settings) if path else parse_recipe("{tasks: {}, steps: 1}", "rft eval", settings)
    recipe = recipe.model_copy(update={"tasks": {**{name: TaskRecipe() for name in TASKS}, **recipe.tasks}})
    model_wrong, _ = model_problems(recipe.model)
    rows = check_data(recipe)
    problems = [Problem("model", message) for message in model_wrong]
    problems += [one for one in rows.findings if isinstance(one, Problem)]
    counts = rows.rows.get("eval", {})
    if counts and task not in (None, *counts):
        problems.append(Problem("--task", f"no row of --data has task {task}.{near_name(str(task), counts)}"))
    if protocol:
        has = PROTOCOLS[protocol].questions
        lacking = sorted({task} if task else counts.keys())
        problems += [
            Problem("--protocol", f"{protocol} is not known for task {name}, only for {', '.join(has)}.")
            for name in lacking
            if name not in has
        ]
    refuse_recipe("rft eval", problems, rows.blocks)
    return recipe


def _policy_folder(model: str) -> str:
    """The Hugging Face folder: that of a checkpoint lies inside it, as `policy`.

    CheckpointError: a file of that policy is not as it was saved.
    """
    given = Path(model).expanduser()
    inside = given / "policy"
    is_checkpoint = (inside / "config.json").is_file() and not (given / "config.json").is_file()
    policy = inside if is_checkpoint else given
    check_digests(policy.parent, policy.name)
    return str(inside) if is_checkpoint else model


def _recipe_of_run(folder: str) -> Path | None:
    parents = Path(folder).expanduser().absolute().parents
    recipes = (RunDir(parent).recipe for parent in parents[:LEVELS_UP])
    return next((path for path in recipes if path.is_file()), None)
