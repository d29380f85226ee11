"""Are the rows of a recipe there, readable and enough? Reads the JSONL files; opens no video or image."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rft.data.dataset import bad_rows, read_rows, video_sampling
from rft.errors import DataError, Problem
from rft.recipe import Recipe
from rft.scoring.group import chosen_rewards
from rft.tasks import TASKS
from rft.tasks.multiple_choice import MultipleChoiceRow
from rft.tasks.types import Row
from rft.types import VideoSampling


@dataclass(frozen=True, slots=True)
class DataCheck:
    """Result of reading a recipe's rows."""

    rows: dict[str, dict[str, int]]
    """Split (train, eval, cold_start) -> task -> number of rows."""
    clips: frozenset[tuple[VideoSampling, float | None]]
    """(rule of frames, length in seconds or None if the row has none) of every clip in the engine's prompts."""
    has_images: bool
    """Whether the engine's prompts have images."""
    texts: frozenset[str]
    """Texts of the engine's prompts."""
    problems: tuple[Problem, ...]
    blocks: tuple[str, ...]
    """Problems inside data files."""
    notes: tuple[str, ...]


def check_data(recipe: Recipe) -> DataCheck:
    """Read all rows that the recipe names."""
    problems: list[Problem] = []
    blocks: list[str] = []
    notes: list[str] = []
    splits: dict[str, tuple[Row, ...]] = {}
    # Rows of a task that does not exist cannot be read; the name itself is reported elsewhere.
    known = all(name in TASKS for name in recipe.tasks)
    for split, (key, files) in _files(recipe).items():
        missing = [path for path in files if not path.is_file()]
        problems += [Problem(key, f"{path} not found in {Path.cwd()}.") for path in missing]
        if not known or missing or not files:
            continue
        try:
            splits[split] = read_rows(files, recipe.data.video_root, tuple(recipe.tasks))
        except DataError as error:
            blocks.append(str(error))
            continue
        _check_files(key, splits[split], recipe.data.max_bad_share, problems, notes)
    _check_row_counts(recipe, splits, problems, notes)
    _check_kinds(recipe, splits, problems)
    # The engine reads no rows of the supervised stage.
    rows = [row for split in ("train", "eval") for row in splits.get(split, ())]
    texts = frozenset(TASKS[row.task].prompt_text(row, recipe.tasks[row.task].think) for row in rows)
    counts = {split: dict(Counter(row.task for row in of_split)) for split, of_split in splits.items()}
    clips = frozenset((video_sampling(row, recipe), row.clip_s) for row in rows if row.video is not None)
    has_images = any(row.image is not None for row in rows)
    return DataCheck(counts, clips, has_images, texts, tuple(problems), tuple(blocks), tuple(notes))


def _files(recipe: Recipe) -> dict[str, tuple[str, tuple[Path, ...]]]:
    """Split -> (recipe key, files)."""
    files = {"train": ("data.train", recipe.data.train), "eval": ("data.eval", recipe.data.eval)}
    if recipe.cold_start:
        files["cold_start"] = ("cold_start.data", recipe.cold_start.data)
    return files


def _check_files(
    key: str, rows: Sequence[Row], max_bad_share: float, problems: list[Problem], notes: list[str]
) -> None:
    num_text = sum(row.kind == "text" for row in rows)
    if num_text:
        notes.append(f"{key}: {num_text:,} of {len(rows):,} rows show neither video nor image.")
    states = {
        (kind, path): _state(Path(path), kind == "video")
        for kind, path in {(row.kind, row.media_path) for row in rows}
        if path is not None
    }
    bad = [
        f"{row.id}: {row.media_path}: {state}"
        for row in rows
        if row.media_path and (state := states[row.kind, row.media_path])
    ]
    if not bad:
        return
    text, are_too_many = bad_rows(bad, len(rows), max_bad_share)
    if are_too_many:
        problems.append(Problem(key, text))
    else:
        notes.append(f"{key}: {text}")


def _state(path: Path, may_be_folder: bool) -> str:
    """What is wrong with a video or image by its directory entry; empty where nothing is."""
    if path.is_dir():
        return "a folder" if not may_be_folder else "" if any(path.iterdir()) else "empty folder"
    if not path.is_file():
        return "not found"
    return "" if path.stat().st_size else "empty file"


def _check_kinds(recipe: Recipe, splits: dict[str, tuple[Row, ...]], problems: list[Problem]) -> None:
    """Options that a row without a video cannot be used with."""

    def refuse(key: str, rows: Sequence[Row], why: str) -> None:
        if rows:
            problems.append(Problem(key, f"{len(rows):,} rows, such as {rows[0].id}, {why}"))

    train, held_out = splits.get("train", ()), splits.get("eval", ())
    bonus, learner = recipe.scoring.order_bonus, recipe.learner
    if bonus is not None:
        refused = [row for row in train if row.video is None and bonus.reward in chosen_rewards(recipe.tasks, row.task)]
        refuse("scoring.order_bonus", refused, "show no video to shuffle. Take them out of data.train.")
    if recipe.eval.second_look is not None:
        refused = [row for row in held_out if row.video is None and isinstance(row, MultipleChoiceRow)]
        refuse("eval.second_look", refused, "show no video for a second look. Take them out of data.eval.")
    trains_tower = learner.lora is None and not learner.freeze_vision
    text = [row for row in train if row.kind == "text"]
    if learner.num_ranks > 1 and trains_tower and len(text) < len(train):
        why = "show nothing: sharded ranks wait for each other in the vision tower. Set learner.freeze_vision."
        refuse("learner.num_ranks", text, why)


def _check_row_counts(
    recipe: Recipe, splits: dict[str, tuple[Row, ...]], problems: list[Problem], notes: list[str]
) -> None:
    train = splits.get("train")
    if train is None:
        return
    if not train:
        problems.append(Problem("data.train", "the files hold no rows."))
    elif recipe.prompts_per_step > len(train):
        message = f"a step takes {recipe.prompts_per_step} prompts, but data.train has {len(train)} rows. Lower it."
        problems.append(Problem("prompts_per_step", message))
    present = {row.task for rows in splits.values() for row in rows}
    trained = {row.task for row in train}
    for name in recipe.tasks:
        if train and name not in present:
            problems.append(Problem(f"tasks.{name}", "no row has this task. Add rows, or remove it."))
        elif train and name not in trained:
            notes.append(f"tasks.{name}: no row of data.train has this task; it is only evaluated.")
