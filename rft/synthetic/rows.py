"""Writes the quickstart's data: drawn clips, rows of four tasks over them, and the tiny policy."""

import json
import multiprocessing
import random
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rft.errors import DataError
from rft.synthetic.clips import Scene, write_clip
from rft.synthetic.policy import build_policy
from rft.synthetic.questions import EXACT, LooseAnnotator, row_of
from rft.synthetic.scenes import OUT_OF_DOMAIN, TRAINED, Domain, event_scene, journey_scene

EVENT_TASKS = ("temporal_grounding", "multiple_choice", "grounded_qa")


@dataclass(frozen=True, slots=True)
class Sizes:
    """Number of clips of each kind."""

    events: int
    """Clips of one or two shapes that appear and disappear, for temporal grounding, multiple choice and grounded QA."""
    journeys: int
    """Clips of one shape that is always visible, for tracking."""


TRAIN = Sizes(events=900, journeys=700)
"""Number of clips of the training rows; the cold start uses the same clips."""

HELD_OUT = Sizes(events=192, journeys=192)
"""Number of clips of the validation rows, of the test rows and of the out-of-domain rows, each."""

DEMONSTRATIONS = {"temporal_grounding": 3, "multiple_choice": 3, "grounded_qa": 3, "tracking": 4}
"""Task -> demonstrations per training clip, each with a random shape and error, so that few are equal."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A drawn scene and the name of its file."""

    name: str
    scene: Scene
    tasks: tuple[str, ...]
    """Names of the tasks with questions about the scene."""


def write_dataset(
    directory: Path,
    seed: int = 0,
    train: Sizes = TRAIN,
    held_out: Sizes = HELD_OUT,
    num_processes: int | None = None,
) -> dict[str, int]:
    """Writes the .jsonl files, clips/ and policy/; returns the rows per file.

    `train`, `validation` and `test` hold questions, `test_ood` those about out-of-domain clips; `cold_start` holds
    the loose annotator's demonstrations, `true_demonstrations` the rows of `train` with exact ones. The same seed
    writes the same rows and weights. The files of held-out rows do not depend on the number of training rows and share
    no clip with them. Raises DataError if the directory cannot be written.
    """
    splits = {
        "train": draw_clips(f"train-{seed}", "train", train),
        "validation": draw_clips(f"validation-{seed}", "validation", held_out),
        "test": draw_clips(f"test-{seed}", "test", held_out),
        "test_ood": draw_clips(f"test_ood-{seed}", "test_ood", held_out, OUT_OF_DOMAIN),
    }
    exact = {name: _demonstrated(clips, f"{name}-rows-{seed}", EXACT) for name, clips in splits.items()}
    rows = {
        name: [{key: value for key, value in row.items() if key != "demonstration"} for row in lines]
        for name, lines in exact.items()
    }
    rows["cold_start"] = _demonstrated(splits["train"], f"cold_start-{seed}", LooseAnnotator(), DEMONSTRATIONS)
    rows["true_demonstrations"] = exact["train"]
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


def draw_clips(seed: str, prefix: str, sizes: Sizes, domains: Sequence[Domain] = (TRAINED,)) -> tuple[Clip, ...]:
    """Random clips, from the domains in turn. `seed` determines the scenes; names begin with `prefix`."""
    rng = random.Random(seed)
    events = [event_scene(rng, domains[i % len(domains)]) for i in range(sizes.events)]
    journeys = [journey_scene(rng, domains[i % len(domains)]) for i in range(sizes.journeys)]
    return (
        *(Clip(f"{prefix}_event_{i:04d}", scene, EVENT_TASKS) for i, scene in enumerate(events)),
        *(Clip(f"{prefix}_journey_{i:04d}", scene, ("tracking",)) for i, scene in enumerate(journeys)),
    )


def _demonstrated(
    clips: Iterable[Clip], seed: str, annotator: LooseAnnotator, numbers: Mapping[str, int] | None = None
) -> list[dict[str, Any]]:
    """Rows with demonstrations, in random order. `numbers`: task -> rows per clip; None: one of each."""
    rng = random.Random(seed)
    rows = [
        {"id": f"{clip.name}_{task}_{number}", "video": _video(clip), **row_of(clip.scene, task, rng, annotator)}
        for clip in clips
        for task in clip.tasks
        for number in range(numbers[task] if numbers else 1)
    ]
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
