"""Hashes of the code from outside that a run uses, so that a resumed run does not silently judge by another one."""

import hashlib
import json
import sys
from pathlib import Path

from rft.data.convert.conversion import format_named
from rft.errors import CheckpointError
from rft.files import write_text
from rft.own_code import is_own, own_file
from rft.recipe import Recipe
from rft.runs.run_dir import RunDir
from rft.scoring.group import own_rewards
from rft.tasks import TASKS


def code_files(recipe: Recipe) -> tuple[Path, ...]:
    """Files of the rewards, tasks, loss and data format of a recipe that are not of rft itself."""
    used = [
        *(type(TASKS[task]) for task in recipe.tasks),
        *(reward for task in recipe.tasks for reward in own_rewards(recipe, task).values()),
        *([format_named(recipe.data.format).read] if recipe.data.format else []),
    ]
    outside = [one.__module__ for one in used if one.__module__.partition(".")[0] not in ("rft", "rewards")]
    files = [Path(file).resolve() for name in outside if (file := sys.modules[name].__file__)]
    own = [own_file(name) for name in (recipe.algorithm.loss_type, recipe.data.format or "") if is_own(name)]
    return tuple(dict.fromkeys([*files, *own]))


def changed_code(run: RunDir, recipe: Recipe) -> tuple[str, ...]:
    """The files of `code_files` that are not as they were when the run last began; () where nothing is recorded."""
    if not run.own_code.exists():
        return ()
    before: dict[str, str] = json.loads(run.own_code.read_text())
    known = (file for file in code_files(recipe) if str(file) in before)
    return tuple(str(file) for file in known if before[str(file)] != _hash(file))


def refuse_changed_code(run: RunDir, recipe: Recipe) -> None:
    """Raises CheckpointError with every file that changed."""
    if changed := changed_code(run, recipe):
        raise CheckpointError(
            f"{run.path}: code of the run changed since it began:\n"
            + "".join(f"  {file}\n" for file in changed)
            + "Put it back as it was, or continue with the changed code: --resume --accept-changed-code."
        )


def write_code_record(run: RunDir, recipe: Recipe) -> None:
    """The hashes of the files as they are; no record for a run without code from outside."""
    hashes = {str(file): _hash(file) for file in code_files(recipe)}
    if hashes or run.own_code.exists():
        write_text(run.own_code, json.dumps(hashes, indent=1))


def _hash(file: Path) -> str:
    return f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
