"""Are the rows of a recipe there, readable and enough? Reads the JSONL files; opens no video."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rft.data.dataset import read_rows, video_sampling
from rft.errors import DataError
from rft.recipe import Recipe
from rft.strict_yaml import Problem
from rft.tasks import TASKS
from rft.tasks.types import Row
from rft.types import VideoSampling

NAMED_VIDEOS = 5
"""Missing videos that are named; all are counted."""


@dataclass(frozen=True, slots=True)
class DataCheck:
    """What the rows of a recipe are."""

    rows: dict[str, dict[str, int]]
    """Split (train, eval, cold_start) -> task -> number of rows."""
    clips: frozenset[tuple[VideoSampling, float | None]]
    """Of what the engine is shown: the rule of frames, and the clip's length, None where a row does not tell it."""
    texts: frozenset[str]
    """What its prompts say."""
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
        problems += [Problem(key, "", f"{path} not found in {Path.cwd()}.") for path in missing]
        if not known or missing or not files:
            continue
        try:
            splits[split] = read_rows(files, recipe.data.video_root, tuple(recipe.tasks))
        except DataError as error:
            blocks.append(str(error))
            continue
        _check_videos(key, splits[split], recipe.data.max_bad_share, problems, notes)
    _check_counts(recipe, splits, problems, notes)
    # The engine reads no rows of the supervised stage.
    rows = [row for split in ("train", "eval") for row in splits.get(split, ())]
    texts = frozenset(TASKS[row.task].prompt_text(row, recipe.tasks[row.task].think) for row in rows)
    counts = {split: dict(Counter(row.task for row in found)) for split, found in splits.items()}
    clips = frozenset((video_sampling(row, recipe), row.clip_s) for row in rows)
    return DataCheck(counts, clips, texts, tuple(problems), tuple(blocks), tuple(notes))


def _files(recipe: Recipe) -> dict[str, tuple[str, tuple[Path, ...]]]:
    """Split -> (recipe key, files)."""
    files = {"train": ("data.train", recipe.data.train), "eval": ("data.eval", recipe.data.eval)}
    if recipe.cold_start:
        files["cold_start"] = ("cold_start.data", recipe.cold_start.data)
    return files


def _check_videos(
    key: str, rows: Sequence[Row], max_bad_share: float, problems: list[Problem], notes: list[str]
) -> None:
    states = {video: _state(Path(video)) for video in {row.video for row in rows}}
    bad = [(row, states[row.video]) for row in rows if states[row.video]]
    if not bad:
        return
    named = dict.fromkeys(f"{row.video} ({state}, row {row.id})" for row, state in bad)
    shown = ", ".join(list(named)[:NAMED_VIDEOS]) + (" and others" if len(named) > NAMED_VIDEOS else "")
    message = f"{len(bad):,} of {len(rows):,} rows have no usable video: {shown}."
    if len(bad) > max_bad_share * len(rows):
        problems.append(Problem(key, "", f"{message} Set data.video_root, or drop the rows."))
    else:
        notes.append(f"{key}: {message} They are left out: data.max_bad_share allows {max_bad_share:g}.")


def _state(video: Path) -> str:
    """What is wrong with a video, as far as its directory entry tells; empty where nothing is."""
    if video.is_dir():
        return "" if any(video.iterdir()) else "empty folder"
    if not video.is_file():
        return "not found"
    return "" if video.stat().st_size else "empty file"


def _check_counts(
    recipe: Recipe, splits: dict[str, tuple[Row, ...]], problems: list[Problem], notes: list[str]
) -> None:
    train = splits.get("train")
    if train is None:
        return
    if not train:
        problems.append(Problem("data.train", "", "the files hold no rows."))
    elif recipe.prompts_per_step > len(train):
        message = f"a step takes {recipe.prompts_per_step} prompts, but data.train has {len(train)} rows. Lower it."
        problems.append(Problem("prompts_per_step", "", message))
    present = {row.task for rows in splits.values() for row in rows}
    trained = {row.task for row in train}
    for name in recipe.tasks:
        if train and name not in present:
            problems.append(Problem(f"tasks.{name}", "", "no row has this task. Add rows, or remove it."))
        elif train and name not in trained:
            notes.append(f"tasks.{name}: no row of data.train has this task; it is only evaluated.")
