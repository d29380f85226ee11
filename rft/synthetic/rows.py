"""Writes the quickstart's data: drawn clips, rows of four tasks over them, and the tiny policy."""

import json
import multiprocessing
import random
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rft.errors import DataError
from rft.synthetic.clips import Scene, write_clip
from rft.synthetic.policy import build_policy
from rft.synthetic.questions import EXACT, LooseAnnotator, row_of
from rft.synthetic.scenes import event_scene, journey_scene

EVENT_TASKS = ("temporal_grounding", "multiple_choice", "grounded_qa")


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many clips of each kind are drawn."""

    events: int
    """Clips of one or two shapes that come and go: temporal grounding, multiple choice and grounded QA."""
    journeys: int
    """Clips of one shape that is visible all the time: tracking."""


TRAIN = Sizes(events=900, journeys=700)
"""Clips of the training rows; the cold start looks at the same clips."""

HELD_OUT = Sizes(events=192, journeys=192)
"""Clips of the validation rows; as many again of the test rows."""

DEMONSTRATIONS = {"temporal_grounding": 3, "multiple_choice": 3, "grounded_qa": 3, "tracking": 4}
"""Demonstrations per training clip, each of a shape and an error drawn anew: the cold start sees hardly any twice."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A drawn scene and the name of its file."""

    name: str
    scene: Scene
    tasks: tuple[str, ...]
    """Tasks that can be asked about the scene."""


def write_dataset(
    directory: Path,
    seed: int = 0,
    train: Sizes = TRAIN,
    held_out: Sizes = HELD_OUT,
    num_processes: int | None = None,
) -> dict[str, int]:
    """Writes train, cold_start, validation and test .jsonl, clips/ and policy/; returns the rows per file.

    The same seed writes the same rows and weights. The files of held-out rows do not depend on the number of others,
    nor share a clip with them. DataError: the directory cannot be written.
    """
    sizes = {"train": train, "validation": held_out, "test": held_out}
    splits = {name: _clips(f"{name}-{seed}", name, clips) for name, clips in sizes.items()}
    rows = {name: _rows(clips, f"{name}-rows-{seed}") for name, clips in splits.items()}
    rows["cold_start"] = _rows(splits["train"], f"cold_start-{seed}", LooseAnnotator())
    try:
        (directory / "clips").mkdir(parents=True, exist_ok=True)
        files = [(clip.scene, directory / _video(clip)) for clips in splits.values() for clip in clips]
        _write_clips(files, num_processes)
        for name, lines in rows.items():
            text = "".join(f"{json.dumps(row)}\n" for row in lines)
            (directory / f"{name}.jsonl").write_text(text, encoding="utf-8")
        build_policy(directory / "policy", seed)
    except OSError as error:
        raise DataError(f"{directory}: cannot write: {error}. Name a folder with room and write access.") from error
    return {name: len(lines) for name, lines in rows.items()}


def _clips(seed: str, prefix: str, sizes: Sizes) -> tuple[Clip, ...]:
    rng = random.Random(seed)
    events = [Clip(f"{prefix}_event_{i:04d}", event_scene(rng), EVENT_TASKS) for i in range(sizes.events)]
    journeys = [Clip(f"{prefix}_journey_{i:04d}", journey_scene(rng), ("tracking",)) for i in range(sizes.journeys)]
    return (*events, *journeys)


def _rows(clips: Iterable[Clip], seed: str, annotator: LooseAnnotator | None = None) -> list[dict[str, Any]]:
    """Rows in random order: one per clip and task, or with an annotator its demonstrations."""
    rng = random.Random(seed)
    rows = []
    for clip in clips:
        for task in clip.tasks:
            for number in range(DEMONSTRATIONS[task] if annotator else 1):
                row = row_of(clip.scene, task, rng, annotator or EXACT)
                if annotator is None:
                    del row["demonstration"]
                rows.append({"id": f"{clip.name}_{task}_{number}", "video": _video(clip), **row})
    rng.shuffle(rows)
    return rows


def _video(clip: Clip) -> str:
    return f"clips/{clip.name}.mp4"


def _write_clips(clips: Sequence[tuple[Scene, Path]], num_processes: int | None) -> None:
    if num_processes == 1 or len(clips) < 32:
        for scene, path in clips:
            write_clip(scene, path)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_processes, mp_context=context) as pool:
        scenes, paths = zip(*clips, strict=True)
        for _ in pool.map(write_clip, scenes, paths, chunksize=32):
            pass
