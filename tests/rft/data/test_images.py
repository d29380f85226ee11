"""Images: read, turned, sized and kept; rows and prompts of an image, and of text alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from rft.commands.data.contact_sheet import draw_sheet
from rft.commands.data.inspect import inspect
from rft.data.dataset import missing_files, read_rows, to_prompt, usable_rows
from rft.data.frames import ClipError
from rft.data.video import ClipCache, clip_key, decode
from rft.errors import DataError
from rft.recipe import Recipe
from rft.tasks import TASKS
from rft.types import Image, Video

PIXELS = 84 * 84
QUESTION = {"task": "multiple_choice", "question": "Which?", "options": ["a", "b"], "target": {"choice": "A"}}


def image(path: Path, least: int = 28 * 28, most: int = PIXELS) -> Image:
    return Image(path, least, most)


def gradient(size: tuple[int, int] = (120, 60)) -> Picture.Image:
    """Dark on the left, light on the right."""
    return Picture.fromarray(np.tile(np.linspace(0, 255, size[0]).astype(np.uint8)[None, :, None], (size[1], 1, 3)))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_an_image_is_one_frame_within_the_limits(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    gradient().save(path)
    frames = decode(image(path))
    assert frames.pixels.shape == (1, 56, 112, 3)
    assert frames.pixels.dtype == np.uint8
    assert frames.pixels[0, :, 0].mean() < 20 < 235 < frames.pixels[0, :, -1].mean()
    assert (frames.timestamps_s, frames.duration_s) == ((0.0,), 0.0)
    assert decode(image(path), factor=32).pixels.shape == (1, 32, 96, 3)  # as smart_resize rounds below the most


def test_an_image_is_turned_as_its_camera_said(tmp_path: Path) -> None:
    path, exif = tmp_path / "turned.jpg", Picture.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    gradient().save(path, exif=exif)
    pixels = decode(image(path)).pixels[0]
    assert pixels.shape == (112, 56, 3)
    assert pixels[0].mean() < 20 < 235 < pixels[-1].mean()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "1", "CMYK"])
def test_every_kind_of_8_bit_pixels_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    picture = gradient().convert(mode)
    if mode in ("RGBA", "LA"):
        picture.putalpha(0)
    picture.save(path)
    pixels = decode(image(path)).pixels
    assert pixels.shape == (1, 56, 112, 3)
    if mode in ("RGBA", "LA"):
        assert (pixels == 255).all()  # nothing to see: paper


def write_16_bit(path: Path) -> None:
    Picture.fromarray(np.full((60, 60), 40000, np.uint16)).save(path, format="PNG")


def write_cut(path: Path) -> None:
    gradient().save(path, format="PNG")
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_text("text"), "not a readable image (JPEG, PNG, WEBP)"),
        (lambda path: path.write_bytes(b""), "empty file"),
        (lambda path: path.mkdir(), "not a file"),
        (lambda path: None, "image not found"),
        (lambda path: gradient().save(path, format="GIF"), "not a readable image"),
        (write_cut, "not a readable image"),
        (write_16_bit, "more than 8 bits per channel"),
        (lambda path: Picture.new("RGB", (4000, 10)).save(path, format="PNG"), "aspect ratio"),
    ],
)
def test_an_image_that_cannot_be_used_says_why(tmp_path: Path, write: Any, message: str) -> None:
    path = tmp_path / "a.png"
    write(path)
    with ClipCacheAt(tmp_path / "cache") as clips:
        for load in (decode, clips.load):
            with pytest.raises(ClipError) as error:
                load(image(path))
            assert str(path) in str(error.value)
            assert message in str(error.value)


class ClipCacheAt:
    """A cache that is closed at the end."""

    def __init__(self, directory: Path) -> None:
        self.clips = ClipCache(directory, 1.0)

    def __enter__(self) -> ClipCache:
        return self.clips

    def __exit__(self, *_: object) -> None:
        self.clips.close()


def test_an_image_is_decoded_once_and_named_by_content_and_limits(tmp_path: Path) -> None:
    path, copy = tmp_path / "a.png", tmp_path / "b.png"
    gradient().save(path)
    copy.write_bytes(path.read_bytes())
    with ClipCacheAt(tmp_path / "cache") as clips:
        frames = [clips.load(image(one)) for one in (path, path, copy)]
        assert (clips.decodes, clips.hits) == (1, 2)
        assert clips.load(None) is None
    assert np.array_equal(frames[0].pixels, decode(image(path)).pixels)
    keys = [clip_key(image(path)), clip_key(image(path, most=2 * PIXELS)), clip_key(image(path), factor=32)]
    assert len({*keys, *(one.key for one in frames)}) == 3


def write(tmp_path: Path, *rows: dict[str, Any]) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"id": str(number), **row}) + "\n" for number, row in enumerate(rows)))
    return path


def recipe_of(path: Path) -> Recipe:
    return Recipe.model_validate(
        {"model": "m", "tasks": {name: {} for name in TASKS}, "data": {"train": [str(path)]}, "steps": 1}
    )


def test_a_row_shows_a_video_an_image_or_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, {**QUESTION, "video": "a.mp4"}, {**QUESTION, "image": "b.png"}, QUESTION)
    recipe, rows = recipe_of(path), read_rows([path], Path("/files"), tuple(TASKS))
    assert [row.kind for row in rows] == ["video", "image", "text"]
    shown = [to_prompt(row, recipe).media for row in rows]
    assert shown == [
        Video(Path("/files/a.mp4"), recipe.video.sampling()),
        Image(Path("/files/b.png"), recipe.video.min_pixels, recipe.video.max_pixels),
        None,
    ]
    assert str(missing_files(rows)).startswith("2 of 2 videos and images not found.")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**QUESTION, "video": "a.mp4", "image": "b.png"}, "a row shows a video or an image, not both"),
        ({**QUESTION, "image": "b.png", "end_s": 3.0, "source_fps": 2.0}, "end_s, source_fps: only for rows with a"),
        ({**QUESTION, "duration_s": 3.0}, "duration_s: only for rows with a video"),
        ({**QUESTION, "image": "b.png", "view": "mirrored"}, "view: only for rows with a video"),
        ({**QUESTION, "image": ""}, "image: String should have at least 1 character"),
        (
            {"task": "temporal_grounding", "image": "b.png", "query": "it", "target": {"span": [0, 1]}},
            "span: lies in the time of a video, but the row has none",
        ),
        (
            {"task": "tracking", "image": "b.png", "object": "dog", "target": {"boxes": [[0, 0, 1, 1]] * 3}},
            "boxes: lies in the time of a video",
        ),
        (
            {**QUESTION, "task": "grounded_qa", "target": {"choice": "A", "spans": [[0, 1]]}},
            "choice, spans: lies in the time of a video",
        ),
    ],
)
def test_rows_that_show_the_wrong_thing(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        read_rows([write(tmp_path, row)], None, tuple(TASKS))
    assert message in str(error.value)


def test_rows_without_a_clip_have_no_length(tmp_path: Path) -> None:
    gradient().save(tmp_path / "a.png")
    path = write(tmp_path, {**QUESTION, "image": "a.png"}, QUESTION)
    with ClipCacheAt(tmp_path / "cache") as clips:
        assert [row.prompt.target.duration_s for row in usable_rows([path], recipe_of(path), clips)] == [None, None]


def test_images_and_texts_are_counted_and_drawn(tmp_path: Path) -> None:
    gradient().save(tmp_path / "a.png")
    label = {"task": "quality", "question": "How is it?", "labels": ["good", "bad"], "target": {"label": "good"}}
    path = write(tmp_path, {**QUESTION, "image": "a.png"}, QUESTION, QUESTION, {**label, "image": "a.png"})
    text, rows = inspect([path], None)
    lines = [line.split() for line in text.splitlines()]
    assert ["-", "multiple_choice", "3", "0", "-", "-", "0", "1", "2"] in lines
    assert ["-", "quality", "1", "0", "-", "-", "0", "1", "0"] in lines
    assert "All images are there." in text
    assert draw_sheet(rows, tmp_path / "sheet.png", 4) == (3, [])
    assert Picture.open(tmp_path / "sheet.png").height > 150
