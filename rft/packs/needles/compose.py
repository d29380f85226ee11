"""Puts needles into long videos, which are lists of frames, and writes rows about them."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from mimetypes import guess_type
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict

from rft.data.convert.source import read_json
from rft.data.decoders import open_source
from rft.errors import DataError, refuse
from rft.tasks import TASKS

NEEDLE_FRAMES = 4
"""Frames that show a needle that is an image. Source: VideoChat-Flash."""

_OPTION = re.compile(r"\(([A-G])\)\s*+([^\n]*+)")


class PublishedNeedle(BaseModel):
    """{"question", "answer", "image"} or {"question1", "answer1", "question2", "answer2", "images"}; clips are named as
    images are."""

    model_config = ConfigDict(frozen=True, extra="allow")

    image: str | None = None
    images: tuple[str, ...] = ()

    @property
    def hops(self) -> tuple[str, ...]:
        """The images and clips in the order of the video."""
        return self.images or ((self.image,) if self.image else ())

    @property
    def questions(self) -> list[tuple[str, str]]:
        """(question with its options, right letter) of each question about the images."""
        given = self.model_extra or {}
        ends = [end for end in ("", "1", "2") if f"question{end}" in given]
        return [(str(given[f"question{end}"]), str(given.get(f"answer{end}", ""))) for end in ends]


def write_needles(
    source: Path,
    haystacks: Sequence[Path],
    lengths: Sequence[int],
    depths: Sequence[float],
    directory: Path,
    fps: float = 1.0,
) -> int:
    """Writes rows.jsonl and the videos, one for each needle, length in frames and depth; returns the number of rows.

    `source`: a published needle file; its images and clips stand below its folder, clips as video files or folders of
    frames, of `fps` too. A single needle is put at each depth, 0 to 1; several are spread evenly from the first frame
    to the last, whatever the depths. The rows' data set is "needles/" and the name of the file. Raises DataError with
    every problem: needles that are missing, questions without options, haystacks or lengths that are too short.
    """
    needles = read_json(source, tuple[PublishedNeedle, ...])
    of_needles = (problem for number, needle in enumerate(needles) for problem in _problems(number, needle, source))
    refuse([*_asked_problems(lengths, depths, fps), *of_needles])
    frames = _haystack_frames(haystacks, max(lengths), fps, directory / "haystack")
    rows: list[Mapping[str, Any]] = []
    for number, needle in enumerate(needles):
        shown = [
            _needle_frames(source.parent / name, frames[0], fps, directory / "needles" / f"{number:04d}_{hop}")
            for hop, name in enumerate(needle.hops)
        ]
        for length in dict.fromkeys(lengths):
            for depth in dict.fromkeys(depths) if len(shown) == 1 else (0.0,):
                name = f"{number:04d}_{length}" + (f"_{depth:g}" if len(shown) == 1 else "")
                _write_video(directory / "videos" / f"{name}.txt", frames[:length], shown, depth)
                rows += _rows(f"needles/{source.stem}", name, needle, length, depth, fps)
    text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    (directory / "rows.jsonl").write_text(text, encoding="utf-8")
    return len(rows)


def _asked_problems(lengths: Sequence[int], depths: Sequence[float], fps: float) -> Iterator[str]:
    yield from (f"--frames: {length} is no whole number above 0" for length in lengths if length < 1)
    yield from (f"--depths: {depth:g} is not from 0 (start) to 1 (end)" for depth in depths if not 0 <= depth <= 1)
    if not 0 < fps < float("inf"):
        yield f"--fps: {fps:g} is no number above 0"


def _rows(
    dataset: str, name: str, needle: PublishedNeedle, length: int, depth: float, fps: float
) -> Iterator[dict[str, Any]]:
    for place, (text, letter) in enumerate(needle.questions):
        question, options = split_question(text)
        target = {"choice": letter, "frames": length, "depth": depth, "hops": len(needle.hops)}
        row = {"id": f"{dataset}/{name}_{place}", "task": "needle", "video": f"videos/{name}.txt", "source_fps": fps,
               "duration_s": length / fps, "question": question, "options": options, "target": target,
               "dataset": dataset}  # fmt: skip
        task = TASKS["needle"]
        try:
            task.target(task.row_type.model_validate(row))
        except ValueError as error:
            raise DataError(f"needle {name}, question {place + 1}: {error}") from error
        yield row


def split_question(text: str) -> tuple[str, list[str]]:
    """(question, options) of a published question, whose options are written "(A) one\\n(B) two"."""
    question, _, options = text.partition("Options:")
    return question.strip(" \n:"), [option.strip() for _, option in _OPTION.findall(options)]


def _problems(number: int, needle: PublishedNeedle, source: Path) -> Iterator[str]:
    if not needle.hops or not needle.questions:
        yield f"{source}: needle {number} names no image or clip, or has no question."
    for name in needle.hops:
        if not (source.parent / name).exists():
            yield f"{source}: needle {number}: {source.parent / name} is not there."
    for text, _ in needle.questions:
        if len(split_question(text)[1]) < 2:
            yield f"{source}: needle {number}: no options '(A) ..', one per line after 'Options:', in {text[:60]!r}."


def _haystack_frames(haystacks: Sequence[Path], number: int, fps: float, folder: Path) -> list[Path]:
    """The first `number` frames of the haystacks, one after the other, at `fps`, as JPEG files of the same size."""
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    size: tuple[int, int] | None = None
    for path in haystacks:
        if len(files) == number:
            break
        for frame in _frames_at(path, fps, number - len(files)):
            picture = Image.fromarray(frame)
            size = size or picture.size
            files.append(folder / f"{len(files):06d}.jpg")
            (picture if picture.size == size else picture.resize(size)).save(files[-1], quality=90)
    if len(files) < number:
        raise DataError(f"the haystacks have {len(files)} frames at {fps:g} per second, of {number}: give more of them")
    return files


def _frames_at(path: Path, fps: float, most: int | None = None) -> Iterator[np.ndarray]:
    """The first `most` frames of a clip at `fps`; a folder holds frames of that rate."""
    source = open_source(path, fps if path.is_dir() else None, "pyav")
    times = np.asarray(source.timestamps_s)
    wanted = np.arange(times[0], times[-1] + 1e-6, 1 / fps)[:most]
    return source.read(np.clip(np.searchsorted(times, wanted - 1e-6), 0, len(times) - 1).tolist())


def _needle_frames(path: Path, like: Path, fps: float, file: Path) -> list[Path]:
    """Files of the frames that show a needle, at the size of the haystack's: an image in several, a clip in its own.

    `file`: their name, without number and ending.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(like) as frame:
        size = frame.size
    if path.is_dir() or (guess_type(path.name)[0] or "").startswith("video/"):
        pictures = [Image.fromarray(frame) for frame in _frames_at(path, fps)]
        return [_fitted(picture, size, Path(f"{file}_{n:06d}.jpg")) for n, picture in enumerate(pictures)]
    with Image.open(path) as picture:
        return [_fitted(picture.convert("RGB"), size, Path(f"{file}.jpg"))] * NEEDLE_FRAMES


def _fitted(picture: Image.Image, size: tuple[int, int], file: Path) -> Path:
    """The file of the picture in this size, on black."""
    canvas = Image.new("RGB", size)
    picture.thumbnail(size)
    canvas.paste(picture, ((size[0] - picture.width) // 2, (size[1] - picture.height) // 2))
    canvas.save(file, quality=90)
    return file


def _write_video(file: Path, frames: Sequence[Path], needles: Sequence[Sequence[Path]], depth: float) -> None:
    """A list of frames, of which those at each needle's place are the needle's."""
    placed: dict[int, Path] = {}
    for number, needle in enumerate(needles):
        last = max(len(frames) - len(needle), 0)
        place = number * last // (len(needles) - 1) if len(needles) > 1 else int(depth * last)
        placed |= dict(zip(range(place, len(frames)), needle, strict=False))
    if len(placed) < sum(map(len, needles)):
        raise DataError(f"--frames: {len(frames)} are too few for all frames of needle {file.stem}")
    file.parent.mkdir(parents=True, exist_ok=True)
    shown = (placed.get(number, frame) for number, frame in enumerate(frames))
    file.write_text("".join(f"../{frame.parent.name}/{frame.name}\n" for frame in shown), encoding="utf-8")
