"""Are the rows of a recipe there, readable and enough? Reads the files of rows; opens no video or image."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rft.data.dataset import bad_rows, recipe_rows, video_samplings
from rft.data.row_files import row_file_problem
from rft.data.shards import media_exists, split_name
from rft.errors import DataError, Problem, RecipeError, problem_text
from rft.recipe import Recipe
from rft.recipe.model_folder import model_type
from rft.scoring.group import chosen_rewards
from rft.tasks import TASKS
from rft.tasks.multiple_choice import MultipleChoiceRow
from rft.tasks.types import Part, Row
from rft.types import VideoSampling

ShownPart = tuple[VideoSampling | None, float | None]
"""(rule of frames; None: an image, length in seconds; None: not known)."""


@dataclass(frozen=True, slots=True)
class DataCheck:
    """Result of reading a recipe's rows."""

    rows: dict[str, dict[str, int]]
    """Split (train, eval, cold_start) -> task -> number of rows."""
    shown: frozenset[tuple[ShownPart, ...]]
    """What each of the engine's prompts shows."""
    texts: frozenset[str]
    """Texts of the engine's prompts."""
    blocks: tuple[str, ...]
    """Problems inside data files."""
    findings: tuple[Problem | str, ...]
    """Problems of the recipe, and notes."""


def check_data(recipe: Recipe) -> DataCheck:
    """Read all rows that the recipe names."""
    findings: list[Problem | str] = []
    blocks: list[str] = []
    splits: dict[str, tuple[Row, ...]] = {}
    # Rows of a task that does not exist cannot be read; the name itself is reported elsewhere.
    known = all(name in TASKS for name in recipe.tasks)
    named = {"train": ("data.train", recipe.data.train), "eval": ("data.eval", recipe.data.eval)}
    if recipe.cold_start:
        named["cold_start"] = ("cold_start.data", recipe.cold_start.data)
    for split, (key, files) in named.items():
        missing = [problem for path in files if (problem := _file_problem(path, recipe.data.format))]
        findings += [Problem(key, problem) for problem in missing]
        if not known or missing or not files:
            continue
        try:
            splits[split] = recipe_rows(files, recipe)
        except DataError as error:
            blocks.append(str(error))
            continue
        findings += _of_media(key, splits[split], recipe.data.max_bad_share)
    findings += [*_of_row_counts(recipe, splits), *_of_kinds(recipe, splits), *_of_times(recipe, splits)]
    # The engine reads no rows of the supervised stage.
    rows = [row for split in ("train", "eval") for row in splits.get(split, ())]
    return DataCheck(
        {split: dict(Counter(row.task for row in of_split)) for split, of_split in splits.items()},
        shown=frozenset(tuple(one for part in row.parts for one in _shown(part, row, recipe)) for row in rows),
        texts=frozenset(TASKS[row.task].prompt_text(row, recipe.tasks[row.task].think) for row in rows),
        blocks=tuple(blocks),
        findings=tuple(findings),
    )


def _file_problem(path: Path, published_as: str | None) -> str | None:
    """Why there can be nothing to read at `path`, without reading it; None where there can."""
    if published_as is None:
        return row_file_problem(path)
    return None if path.exists() else f"{path} not found in {Path.cwd()}."


def _shown(part: Part, row: Row, recipe: Recipe) -> list[ShownPart]:
    if part.video is None:
        return [(None, None)]
    ends = None if part.end_s is None else part.end_s - (part.start_s or 0.0)
    length_s = row.clip_s if row.media is None else ends
    return [(sampling, length_s) for sampling in video_samplings(row, recipe)]


def _of_media(key: str, rows: Sequence[Row], max_bad_share: float) -> Iterator[Problem | str]:
    num_text = sum(row.kind == "text" for row in rows)
    if num_text:
        yield f"{key}: {num_text:,} of {len(rows):,} rows show neither video nor image."
    files = {(part.path, part.video is not None) for row in rows for part in row.parts}
    states = {file: _state(Path(file[0]), may_be_folder=file[1]) for file in files}
    found = ((row, part, states[part.path, part.video is not None]) for row in rows for part in row.parts)
    bad = list({row.id: f"{row.id}: {part.path}: {state}" for row, part, state in found if state}.values())
    if bad:
        text, are_too_many = bad_rows(bad, len(rows), max_bad_share)
        yield Problem(key, text) if are_too_many else f"{key}: {text}"


def _state(path: Path, may_be_folder: bool) -> str:
    """What is wrong with a video or image by its directory entry; empty where nothing is."""
    if split_name(path):
        return "" if media_exists(path) else "not found"
    if path.is_dir():
        return "a folder" if not may_be_folder else "" if any(path.iterdir()) else "empty folder"
    if not path.is_file():
        return "not found"
    return "" if path.stat().st_size else "empty file"


def _of_kinds(recipe: Recipe, splits: Mapping[str, Sequence[Row]]) -> list[Problem]:
    """Options that a row without a video cannot be used with."""
    train, held_out = splits.get("train", ()), splits.get("eval", ())
    bonus, learner = recipe.scoring.order_bonus, recipe.learner
    refused: list[tuple[str, list[Row], str]] = []
    if bonus is not None:
        rows = [row for row in train if row.video is None and bonus.reward in chosen_rewards(recipe.tasks, row.task)]
        refused.append(("scoring.order_bonus", rows, "show no video to shuffle. Take them out of data.train."))
    if recipe.eval.second_look is not None:
        of_choice = [row for row in held_out if isinstance(row, MultipleChoiceRow)]
        rows = [row for row in of_choice if row.video is None or row.view == "reversed"]
        why = "show no video, or one backwards, for a second look. Take them out of data.eval."
        refused.append(("eval.second_look", rows, why))
    limit = recipe.rollout.max_media
    counts = [(row, _most_of_a_kind(row, recipe)) for of_split in splits.values() for row in of_split]
    rows = [row for row, count in counts if count > limit]
    most = max((count for _, count in counts), default=0)
    refused.append(("rollout.max_media", rows, f"show up to {most} clips or images. Set it to {most}."))
    rows = [row for row in train if row.kind == "text"]
    if learner.num_ranks > 1 and not learner.freezes_tower and len(rows) < len(train):
        why = "show nothing: sharded ranks wait for each other in the vision tower. Set learner.freeze_vision."
        refused.append(("learner.num_ranks", rows, why))
    return [Problem(key, f"{len(rows):,} rows, such as {rows[0].id}, {why}") for key, rows, why in refused if rows]


def _most_of_a_kind(row: Row, recipe: Recipe) -> int:
    """Clips or images that the row shows, whichever are more."""
    if row.video:
        return len(recipe.video.samplings())
    num_clips = sum(part.video is not None for part in row.parts)
    return max(num_clips, len(row.parts) - num_clips)


def _of_times(recipe: Recipe, splits: Mapping[str, Sequence[Row]]) -> Iterator[Problem | str]:
    """Targets in time, where frames are unevenly spaced and the model counts them instead of reading their times."""
    kind, drops = model_type(recipe.model), recipe.video.drop_still > 0
    if kind == "qwen3_vl":
        return
    uneven = [row for rows in splits.values() for row in rows if row.video and (drops or row.frame_times_s)]
    targets = ((row, TASKS[row.task].target(row)) for row in uneven)
    rows = [row for row, target in targets if target.time_spans() or target.frame_boxes()]
    if rows:
        key = "video.drop_still" if drops else "frame_times_s"
        problem = (
            f"{len(rows):,} rows, such as {rows[0].id}, have a target in time, and their frames are not evenly spaced. "
            "Qwen2-VL and Qwen2.5-VL take every frame pair for one step in time; only Qwen3-VL is told the times. "
            "Train that, or show these rows evenly spaced frames."
        )
        yield Problem(key, problem) if kind else f"{key}: {problem}"


def _of_row_counts(recipe: Recipe, splits: Mapping[str, Sequence[Row]]) -> Iterator[Problem | str]:
    train = splits.get("train")
    if train is None:
        return
    if not train:
        yield Problem("data.train", "the files hold no rows.")
        return
    if recipe.prompts_per_step > len(train):
        message = f"a step takes {recipe.prompts_per_step} prompts, but data.train has {len(train)} rows. Lower it."
        yield Problem("prompts_per_step", message)
    present = {row.task for rows in splits.values() for row in rows}
    trained = {row.task for row in train}
    for name in recipe.tasks:
        if name not in present:
            yield Problem(f"tasks.{name}", "no row has this task. Add rows, or remove it.")
        elif name not in trained:
            yield f"tasks.{name}: no row of data.train has this task; it is only evaluated."


def refuse_recipe(place: str, problems: Sequence[Problem], blocks: Sequence[str]) -> None:
    """Raises RecipeError with all problems of a recipe, and with those inside data files; nothing where none is."""
    texts = [*([problem_text(place, problems)] if problems else []), *blocks]
    if texts:
        raise RecipeError("\n".join(texts))
