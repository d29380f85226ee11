"""Rows of files, with every problem listed, and prompts in a seeded order that can be resumed."""

import random
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from rft.data.convert.conversion import read_published
from rft.data.frames import ClipError, Shown, StorageError, frames_of
from rft.data.row import read_row
from rft.data.row_files import read_row_file
from rft.data.shards import media_exists
from rft.errors import DataError, listed, refuse, shortened
from rft.recipe import Recipe
from rft.tasks import TASKS
from rft.tasks.types import Part, Row
from rft.types import MEDIA_MARK, Demonstration, Image, Media, Medium, Prompt, Several, Video, VideoSampling

STORAGE_TRIES = 25
"""Times that a clip is asked for while its storage does not answer: over two minutes."""

STORAGE_WAIT_S = 5.0
"""Between two of them."""

Shard = tuple[int, int]
"""(i, n): every n-th row, from row i on."""

WHOLE: Shard = (0, 1)

NAMED_FILES = 5


def read_rows(
    paths: Sequence[Path], video_root: Path | None, tasks: Collection[str], published_as: str | None = None
) -> tuple[Row, ...]:
    """The rows of all files, in order, each of its task's own type, with the path of its video or image resolved.

    Relative paths start from `video_root`, or from the folder of the row's file. `published_as`: format of the files;
    None: they hold rows. Whether the videos exist is checked by `missing_files` and by decoding. Raises DataError with
    every problem, by file and line.
    """
    problems: list[str] = []
    rows: dict[str, Row] = {}
    read_at: dict[str, str] = {}
    for path in paths:
        if published_as is None:
            lines = read_row_file(path, problems)
        else:
            lines = read_published(published_as, path, video_root, tasks, problems)
        for line in lines:
            row = read_row(line.value, video_root or Path(line.file).parent, tasks)
            if isinstance(row, Row) and row.id in rows:
                taken = f"id {shortened(repr(row.id))} is taken by {read_at[row.id]}"
                row = [f"{taken}. Ids name rows across all files."]
            if isinstance(row, Row):
                rows[row.id], read_at[row.id] = row, line.where
            else:
                problems += [f"{line.where}: {problem}" for problem in row]
    if not rows and not problems:
        problems.append(f"{', '.join(str(path) for path in paths) or 'data'}: no rows")
    refuse(problems)
    return tuple(rows.values())


def recipe_rows(paths: Sequence[Path], recipe: Recipe) -> tuple[Row, ...]:
    """The rows of `data.train` or `data.eval`, as by `read_rows`; () for no paths."""
    return read_rows(paths, recipe.data.video_root, recipe.tasks, recipe.data.format) if paths else ()


def missing_files(rows: Sequence[Row]) -> str | None:
    """Message with the number of missing videos and images and the first of them; None if all exist."""
    parts = [part for row in rows for part in row.parts]
    files = dict.fromkeys(part.path for part in parts)
    missing = [file for file in files if not media_exists(Path(file))]
    if not missing:
        return None
    named = listed([f"  {file}" for file in missing], NAMED_FILES)
    what = " and ".join(f"{kind}s" for kind in ("video", "image") if any(getattr(part, kind) for part in parts))
    return f"{len(missing)} of {len(files)} {what} not found. Set data.video_root, or drop their rows.\n{named}"


def bad_rows(reasons: Sequence[str], total: int, max_share: float) -> tuple[str, bool]:
    """(message about rows with unusable clips or images, whether they are too many). `reasons`: one per row.

    Too many: more than `max_share` of the `total`, or all of them.
    """
    are_too_many = bool(reasons) and (len(reasons) > max_share * total or len(reasons) == total)
    allows = f"{'more than' if are_too_many else 'which'} data.max_bad_share {max_share:g} allows"
    remedy = "Set data.video_root, mend or drop these rows, or raise the share" if are_too_many else "They are left out"
    named = listed([f"    {reason}" for reason in reasons], NAMED_FILES)
    text = f"{len(reasons):,} of {total:,} rows have clips or images that cannot be used, {allows}. {remedy}:\n{named}"
    return text, are_too_many


def to_prompt(row: Row, recipe: Recipe) -> Prompt:
    """The prompt of `row`: text, media and target under `recipe`."""
    shown = [medium for part in row.parts for medium in _showings(part, row, recipe)]
    media: Media | None = Several(tuple(shown)) if len(shown) > 1 else shown[0] if shown else None
    task = TASKS[row.task]
    text = task.prompt_text(row, recipe.tasks[row.task].think)
    if not row.media and len(shown) > 1:
        text = text.replace(MEDIA_MARK, MEDIA_MARK * len(shown))
    fields = row.model_dump(mode="json", exclude_none=True)
    return Prompt(row.id, row.task, text, media, task.target(row), row.dataset, fields)


def _showings(part: Part, row: Row, recipe: Recipe) -> list[Medium]:
    if part.video is None:
        return [Image(Path(part.path), recipe.video.min_pixels, recipe.video.max_pixels)]
    place = (part.start_s, part.end_s, part.source_fps)
    return [Video(Path(part.path), sampling, *place, view=part.view) for sampling in video_samplings(row, recipe)]


def video_samplings(row: Row, recipe: Recipe) -> tuple[VideoSampling, ...]:
    """The rule for the frames of each showing of a row's clip under `recipe`, or of each of its clips."""
    first = video_sampling(row, recipe)
    return (first, *recipe.video.samplings()[1:]) if row.video else (first,)


def video_sampling(row: Row, recipe: Recipe) -> VideoSampling:
    """Rule for the frames of a row's clip under `recipe`."""
    is_sampled = recipe.tasks[row.task].frames == "sampled"
    num_boxes = 0 if is_sampled else len(TASKS[row.task].target(row).frame_boxes())
    return sampling_at(task_sampling(row.task, num_boxes, recipe), row.frame_times_s)


def sampling_at(sampling: VideoSampling, times_s: Sequence[float] | None) -> VideoSampling:
    """The sampling with frames at given times, in seconds from the clip's start; None: unchanged."""
    if not times_s:
        return sampling
    return replace(sampling, num_frames=len(times_s), pick="even", times_s=tuple(times_s))


def task_sampling(task: str, num_boxes: int, recipe: Recipe) -> VideoSampling:
    """Rule for the frames of a clip whose target has so many boxes, 0 where it has none."""
    sampling, frames = recipe.video.sampling(), recipe.tasks[task].frames
    if frames == "sampled" or not num_boxes:
        return sampling
    if frames == "seven":
        return replace(sampling, num_frames=7, pick="published_tracking")
    return replace(sampling, num_frames=num_boxes, pick="start_then_even")


class Clips(Protocol):
    """Source of decoded clips and images: rft.data.video.ClipCache in a run."""

    def fingerprinted(self, media: Media | None) -> Media | None:
        """`media` with the fingerprint of its file as `content`. Raises ClipError if there is no such file."""
        ...

    def load(self, media: Media | None) -> Shown | None:
        """Frames of `media`; None for None."""
        ...


@dataclass(frozen=True, slots=True)
class UsableRow:
    """A row whose clip or image could be decoded, and its prompt."""

    row: Row
    prompt: Prompt
    """Prompt of the row; its target holds the length of the decoded clip."""

    def demonstration(self, recipe: Recipe) -> Demonstration:
        """Example for the supervised stage: the row's `demonstration`, or its target written as a completion."""
        think = recipe.tasks[self.row.task].think
        text = self.row.demonstration or TASKS[self.row.task].target_completion(self.prompt.target, think)
        return Demonstration(self.prompt, text)


def usable_rows(
    paths: Sequence[Path],
    recipe: Recipe,
    clips: Clips,
    task: str | None = None,
    shard: Shard = WHOLE,
    *,
    on_total: Callable[[int], None] = lambda total: None,
    on_row: Callable[[], None] = lambda: None,
    on_bad: Callable[[str], None] = lambda problem: None,
) -> tuple[UsableRow, ...]:
    """The rows of `paths`, or those of one task, or a shard of these, with their clips decoded.

    A row whose clip or image is missing or damaged is reported to `on_bad` and left out. Raises DataError if rows are
    invalid, or if more are left out than data.max_bad_share allows.
    """
    rows = recipe_rows(paths, recipe)
    rows = tuple(row for row in rows if task in (None, row.task))[shard[0] :: shard[1]]
    on_total(len(rows))
    usable, bad = [], []
    for row in rows:
        prompt = to_prompt(row, recipe)
        try:
            frames = frames_of(clips.load(prompt.media))
            if row.video:
                prompt = replace(prompt, target=replace(prompt.target, duration_s=frames[0].duration_s))
            usable.append(UsableRow(row, prompt))
        except ClipError as error:
            bad.append(f"{row.id}: {error}")
            on_bad(f"row {row.id} left out: {error}")
        on_row()
    text, are_too_many = bad_rows(bad, len(rows), recipe.data.max_bad_share)
    if are_too_many:
        raise DataError(f"{', '.join(map(str, paths))}: {text}")
    return tuple(usable)


@dataclass
class PromptOrder:
    """Prompts in a seeded order, shuffled in each round, without those whose clip cannot be decoded.

    Seed and position determine the next prompts, so a run that sets `position` resumes as if it had not stopped.
    """

    prompts: Sequence[Prompt]
    seed: int
    clips: Clips
    max_bad_share: float
    prefetch: Callable[[Sequence[Media]], None] = lambda media: None
    """Called with the clips that probably come next, as many as were taken: ClipPrefetch.prefetch in a run."""
    fewest: int = 1
    """Minimum number of unsolved prompts. Below it, solved prompts are drawn again."""
    sleep: Callable[[float], object] = time.sleep
    """Waits for so many seconds, where the storage of a clip does not answer."""
    by_clip: bool = False
    """Prompts about one file follow each other, in a drawn order of files."""

    def __post_init__(self) -> None:
        if not self.prompts:
            raise DataError("data: no prompts")
        self.position = 0
        """Index into the endless order of the next prompt; bad prompts count."""
        self.bad: dict[str, str] = {}
        """prompt_id -> why its clip cannot be used, for the clips used so far."""
        self.solved: dict[str, int] = {}
        """prompt_id -> position from which on it is skipped."""
        self.storage_waits = 0
        """Times that this object waited for the storage of a clip."""
        self._shuffled: tuple[int, list[int]] = (-1, [])

    def take(self, n: int) -> tuple[Prompt, ...]:
        """The next `n` prompts, with decoded clips. Raises DataError if more clips are bad than `max_bad_share` allows.

        Each clip's file is hashed once here, for all its readers in this step.
        """
        taken: list[Prompt] = []
        while len(taken) < n:
            prompt = None if self._is_over(self.position) else self._decoded(self._at(self.position))
            self.position += 1
            if prompt is not None:
                taken.append(prompt)
        end_of_round = (self.position // len(self.prompts) + 1) * len(self.prompts)
        positions = range(self.position, min(self.position + n, end_of_round))
        following = [self._at(position).media for position in positions if not self._is_over(position)]
        self.prefetch([media for media in following if media is not None])
        return tuple(taken)

    def drop(self, prompt_ids: Iterable[str]) -> None:
        """Skip these prompts from `position` on; positions before it still give the same prompts."""
        for prompt_id in prompt_ids:
            self.solved.setdefault(prompt_id, self.position)

    def counters(self) -> dict[str, float]:
        return {
            "data/bad_clips": len(self.bad),
            "data/solved_rows": len(self.solved),
            "data/storage_waits": self.storage_waits,
        }

    def _at(self, position: int) -> Prompt:
        epoch, index = divmod(position, len(self.prompts))
        if self._shuffled[0] != epoch:
            order = list(range(len(self.prompts)))
            random.Random(f"{self.seed} {epoch}").shuffle(order)
            self._shuffled = (epoch, self._together(order) if self.by_clip else order)
        return self.prompts[self._shuffled[1][index]]

    def _together(self, order: list[int]) -> list[int]:
        """Each index behind the first one of its file."""
        by_file: dict[object, list[int]] = {}
        for index in order:
            media = self.prompts[index].media
            file = index if media is None or isinstance(media, Several) else media.path
            by_file.setdefault(file, []).append(index)
        return [index for indices in by_file.values() for index in indices]

    def _is_over(self, position: int) -> bool:
        """Whether the prompt at `position` is skipped: solved before, and enough others are unsolved."""
        solved_at = self.solved.get(self._at(position).prompt_id)
        if solved_at is None or solved_at > position:
            return False
        num_over = sum(at <= position for at in self.solved.values())
        return len(self.prompts) - len(self.bad) - num_over >= self.fewest

    def _decoded(self, prompt: Prompt) -> Prompt | None:
        """The prompt with the fingerprint of its decoded clip; None if the clip cannot be decoded."""
        if prompt.prompt_id in self.bad:
            return None
        try:
            media = self._fingerprinted(prompt.media)
            self.clips.load(media)
        except ClipError as error:
            self.bad[prompt.prompt_id] = str(error)
            reasons = [f"{prompt_id}: {reason}" for prompt_id, reason in self.bad.items()]
            text, are_too_many = bad_rows(reasons, len(self.prompts), self.max_bad_share)
            if are_too_many:
                raise DataError(text) from error
            return None
        return replace(prompt, media=media)

    def _fingerprinted(self, media: Media | None) -> Media | None:
        """As by `clips`, after waiting for storage that does not answer. Raises ClipError where it never does."""
        for _ in range(STORAGE_TRIES - 1):
            try:
                return self.clips.fingerprinted(media)
            except StorageError:
                self.storage_waits += 1
                self.sleep(STORAGE_WAIT_S)
        return self.clips.fingerprinted(media)
