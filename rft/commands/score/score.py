"""Scores stored completions, in one pass, without a model or a GPU."""

import json
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from rewards import rewards_of
from rewards.types import Fidelity
from rft.commands.score.reward_choice import reward_choice
from rft.commands.score.scorer import Scorer
from rft.errors import RecipeError, problem_text
from rft.files import JsonLine, read_jsonl, replace_file, writing
from rft.recipe import Recipe, TaskRecipe
from rft.recipe.load import parse_recipe, read_recipe
from rft.runs.rollout_files import completion_files
from rft.runs.run_dir import RunDir
from rft.tables import plain
from rft.tasks import TASKS

WRITE_BUFFER = 1 << 20
"""Bytes handed to the disk at one time."""

_encode = json.JSONEncoder(check_circular=False).encode
"""Rows come out of JSON: they hold no circles."""

# Three and seven times as fast as the standard library, and of the same meaning. It does the rest where they refuse:
# half of a surrogate pair, a number too large for a float.
_encode_fast = msgspec.json.Encoder().encode

SCORING_KEYS = ("tasks", "scoring", "sampling", "fidelity")
"""Sections of a recipe that decide what a completion earns."""

NO_RECIPE = "{model: none, tasks: {}, data: {train: []}, steps: 1}"


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """Settings of a scoring that replace those of the recipe."""

    task: str | None = None
    """Task of the rows that name none; rows that name another are left out."""
    fidelity: Fidelity | None = None
    think: bool | None = None
    """Whether the format reward asks for a thought; None: as the recipe says."""
    rewards: tuple[str, ...] = ()
    """Rewards as NAME=WEIGHT."""
    recipe: Path | None = None
    """Recipe to use in place of the run's recipe, or of the tasks' own rewards."""


def score(source: Path, request: ScoreRequest, out: Path | None = None) -> Scorer:
    """Judge every completion of `source`, a JSONL file (or .jsonl.zst) or a run folder; the result holds the counts.

    `out`: gets each row with `scores`, `notes`, `answer`, `reward`, `fault` and `problem`; there whole or not at all.
    Raises DataError with every row that cannot be scored, RewardError where a reward cannot judge.
    """
    recipe = _recipe(source, request)
    scorer = Scorer(recipe, reward_choice(rewards_of(recipe.fidelity), request.think, request.rewards), request.task)
    files = completion_files(source)
    rows = scorer.rows(line for file in files for line in read_jsonl(file, scorer.problems))
    if out is None:
        deque(rows, maxlen=0)
        scorer.finish(source)
        return scorer

    def write(partial_file: Path) -> None:
        with partial_file.open("w", WRITE_BUFFER, encoding="utf-8") as file:
            file.writelines(with_scores(line, scored) for line, scored in rows)
        scorer.finish(source)

    with writing(out, "free space on the disk, or give another file with -o"):
        replace_file(out, write)
    return scorer


def print_scored(scorer: Scorer, as_json: bool) -> None:
    """The tables, or the figures as one JSON object."""
    if as_json:
        print(json.dumps(scorer.to_json(), indent=1))
        return
    parts = [plain(table) for tally in scorer.tallies.values() for table in tally.tables()]
    if scorer.left_out:
        parts.append(f"{scorer.left_out:,} rows of other tasks left out.")
    print("\n\n".join(parts))


def with_scores(line: JsonLine, scored: dict[str, Any]) -> str:
    """One JSON line: the row with its scores, which replace keys of the same name."""
    # The text as it stands need not be encoded again; beyond ASCII it may hold what other readers take for line ends.
    if not line.text.isascii() or not scored.keys().isdisjoint(line.value):
        return _encode({**line.value, **scored}) + "\n"
    try:
        more = _encode_fast(scored).decode("ascii")
    except UnicodeError:  # beyond ASCII, or half of a surrogate pair
        more = _encode(scored)
    return f"{line.text[:-1]}, {more[1:]}\n"


def _recipe(source: Path, request: ScoreRequest) -> Recipe:
    """The recipe of the run, the given one, or an empty one: then every task has its own rewards."""
    path = request.recipe or (RunDir(source).recipe if source.is_dir() else None)
    if path is None:
        recipe = parse_recipe(NO_RECIPE, "rft score")
    else:
        read = read_recipe(path)
        # A run stays readable when keys that have no part in scores are renamed.
        problems = [problem for problem in read.problems if problem.key.startswith(SCORING_KEYS) or not problem.key]
        if read.recipe is None or problems:
            raise RecipeError(problem_text(str(path), problems or read.problems))
        recipe = read.recipe
    tasks = {**{name: TaskRecipe() for name in TASKS}, **recipe.tasks}
    return recipe.model_copy(update={"tasks": tasks, "fidelity": request.fidelity or recipe.fidelity})
