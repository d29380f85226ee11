"""Writes a drawn set of a pack: clips, rows about them, the same clips without evidence, and a tiny policy."""

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from rewards.discovery import modules_named
from rft.errors import DataError, near_name
from rft.synthetic.clips import SIDE, Pixels, write_frames
from rft.synthetic.policy import build_policy
from rft.tasks import TASKS

NUM_TEXTS = 240
"""Clips whose prompts and demonstrations train the tokenizer."""


@dataclass(frozen=True, slots=True)
class DrawnClip:
    """A clip, the same clip without what its questions are about, and rows with the questions."""

    pixels: Pixels
    """uint8 [F, side, side, 3]."""
    blank: Pixels
    """uint8 [F, side, side, 3]: answers about it can only be guessed."""
    rows: tuple[Mapping[str, Any], ...]
    """Fields of a row without `id`, `video`, `dataset` and `duration_s`; `demonstration` is a loose annotator's."""


@dataclass(frozen=True, slots=True)
class DrawnSet:
    """How a pack draws its clips, and how many."""

    draw: Callable[[random.Random], DrawnClip]
    fps: Fraction
    side: int = SIDE
    """Width and height of a frame in pixels; a multiple of 28."""
    num_train: int = 900
    num_held_out: int = 192
    """Clips of the validation rows, and of the test rows."""
    draw_held_out: Callable[[random.Random], DrawnClip] | None = None
    """How those are drawn where they differ from the training clips, such as by names that these lack."""


def drawn_set(name: str) -> DrawnSet:
    """The drawn set of this name. DataError: no pack draws it."""
    modules = modules_named("rft.packs", "drawn").values()
    sets: dict[str, DrawnSet] = {name: drawn for module in modules for name, drawn in module.DRAWN.items()}
    if name not in sets:
        raise DataError(f"--pack {name}: no pack draws clips of this name.{near_name(name, sets)}")
    return sets[name]


def write_drawn_set(directory: Path, name: str, drawn: DrawnSet, seed: int = 0) -> dict[str, int]:
    """Writes the .jsonl files, clips/ and policy/; returns the rows per file.

    `train`, `validation` and `test` hold questions, `cold_start` the rows of `train` with demonstrations, `test_blank`
    those of `test` about the clips without evidence. The same seed writes the same rows and weights, and the files of
    held-out rows do not depend on the number of training rows. Raises DataError if the directory cannot be written.
    """
    sizes = {"train": drawn.num_train, "validation": drawn.num_held_out, "test": drawn.num_held_out}
    rows: dict[str, list[dict[str, Any]]] = {}
    try:
        (directory / "clips").mkdir(parents=True, exist_ok=True)
        for split, number in sizes.items():
            rng = random.Random(f"{name}-{split}-{seed}")
            draw = drawn.draw if split == "train" else drawn.draw_held_out or drawn.draw
            clips = [draw(rng) for _ in range(number)]
            with_evidence = list(_written(clips, directory, split, drawn))
            rows[split] = _labelled(_questions(with_evidence), f"{name}/{split}")
            if split == "train":
                rows["cold_start"] = with_evidence
            if split == "test":
                blank = [DrawnClip(clip.blank, clip.blank, clip.rows) for clip in clips]
                blank_rows = _questions(_written(blank, directory, "test_blank", drawn))
                rows["test_blank"] = _labelled(blank_rows, f"{name}/blank")
        for file, lines in rows.items():
            text = "".join(f"{json.dumps(row)}\n" for row in lines)
            (directory / f"{file}.jsonl").write_text(text, encoding="utf-8")
        build_policy(directory / "policy", seed, _texts(drawn), drawn.side)
    except OSError as error:
        raise DataError(f"{directory}: cannot write: {error}. Name a folder with room and write access.") from error
    return {file: len(lines) for file, lines in rows.items()}


def _written(clips: Sequence[DrawnClip], directory: Path, split: str, drawn: DrawnSet) -> Iterator[dict[str, Any]]:
    """The rows of the clips, whose files are written."""
    for number, clip in enumerate(clips):
        name = f"{split}_{number:04d}"
        video = f"clips/{name}.mp4"
        write_frames(clip.pixels, drawn.fps, directory / video)
        duration_s = float(len(clip.pixels) / drawn.fps)
        for place, fields in enumerate(clip.rows):
            yield {"id": f"{name}_{place}", "video": video, "duration_s": duration_s, **fields}


def _questions(rows: Iterator[dict[str, Any]] | Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "demonstration"} for row in rows]


def _labelled(rows: Sequence[dict[str, Any]], dataset: str) -> list[dict[str, Any]]:
    return [{**row, "dataset": dataset} for row in rows]


def _texts(drawn: DrawnSet) -> Iterator[str]:
    """Texts to train the tokenizer, the same for every seed."""
    rng = random.Random(0)
    for _ in range(NUM_TEXTS):
        yield "system\nYou are a helpful assistant.\nuser\nassistant\n look"
        for fields in drawn.draw(rng).rows:
            task = TASKS[fields["task"]]
            yield task.prompt_text(task.row_type(id="text", video="none", **fields), True)
            yield fields["demonstration"]
