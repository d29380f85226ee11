"""Several clips and images in one prompt: rows, prompts, frames, and the tokens in the order of the text."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from family_policies import build_qwen3_policy
from grey_clips import SAMPLING
from PIL import Image as Picture

from rewards.targets.choice import ChoiceTarget
from rft.commands.check.data import check_data
from rft.data.clip_frames import ClipFrames
from rft.data.dataset import missing_files, read_rows, to_prompt
from rft.data.frames import Frames, FramesOfSeveral
from rft.data.processor import PromptProcessor
from rft.data.video import ClipCache, clip_key
from rft.errors import DataError
from rft.evaluation.evaluate import unit_of
from rft.recipe import Recipe
from rft.synthetic.policy import build_policy
from rft.tasks import TASKS
from rft.types import Image, Prompt, Several, Video

QUESTION = {"id": "s", "task": "multiple_choice", "options": ["a", "b"], "target": {"choice": "A"}}
CLIP, PICTURE = {"video": "a.mp4", "start_s": 1.0, "end_s": 3.0}, {"image": "b.png"}


def write_row(folder: Path, **fields: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text(json.dumps({**QUESTION, "question": "Which?", **fields}))
    return path


def recipe(folder: Path, **rollout: int) -> Recipe:
    fields: dict[str, Any] = {"model": "m", "steps": 1, "prompts_per_step": 1, "tasks": {"multiple_choice": {}}}
    return Recipe.model_validate({**fields, "data": {"train": [str(folder / "rows.jsonl")]}, "rollout": rollout})


def test_a_row_of_several_becomes_a_prompt_that_shows_them_in_order(tmp_path: Path) -> None:
    write_row(tmp_path, question="Is <media> before <media>?", media=[CLIP, PICTURE])
    (row,) = read_rows([tmp_path / "rows.jsonl"], None, TASKS)
    prompt = to_prompt(row, recipe(tmp_path))
    assert isinstance(prompt.media, Several)
    clip, image = prompt.media.parts
    assert isinstance(clip, Video)
    assert (clip.path, clip.start_s, clip.end_s) == (tmp_path / "a.mp4", 1.0, 3.0)
    assert isinstance(image, Image)
    assert image.path == tmp_path / "b.png"
    assert row.media_path == prompt.video == f"{tmp_path / 'a.mp4'} + {tmp_path / 'b.png'}"
    assert unit_of(prompt)[0] == "video"
    assert "2 of 2 videos and images not found" in (missing_files([row]) or "")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"media": [CLIP]}, "at least 2"),
        ({"media": [CLIP, PICTURE], "video": "c.mp4"}, "not both"),
        ({"media": [CLIP, {"start_s": 1.0}]}, "name a video or an image"),
        ({"media": [CLIP, {**PICTURE, "end_s": 1.0}]}, "are for videos"),
        ({"media": [CLIP, PICTURE], "duration_s": 9.0}, "only for rows with a video"),
        ({"media": [CLIP, PICTURE], "question": "Is <media> it?"}, "1 <media> for 2 media"),
        ({"media": [CLIP, {**PICTURE, "imag": "c"}]}, "imag"),
    ],
)
def test_wrong_rows_are_told(tmp_path: Path, fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        read_rows([write_row(tmp_path, **fields)], None, TASKS)


def test_check_asks_for_room_for_several(tmp_path: Path) -> None:
    write_row(tmp_path, media=[CLIP, PICTURE, CLIP])
    for name in ("a.mp4", "b.png"):
        (tmp_path / name).write_bytes(b"something")
    found = [str(finding) for finding in check_data(recipe(tmp_path)).findings]
    assert any("rollout.max_media" in one and "up to 2 clips or images. Set it to 2" in one for one in found)
    checked = check_data(recipe(tmp_path, max_media=2))
    assert not any("max_media" in str(finding) for finding in checked.findings)
    ((clip, image, again),) = checked.shown
    assert (clip == again, clip[1], image) == (True, 2.0, (None, None))


def test_each_part_is_decoded_once(tmp_path: Path) -> None:
    shades = (10, 200)
    for shade in shades:
        Picture.fromarray(np.full((56, 56, 3), shade, np.uint8)).save(tmp_path / f"{shade}.png")
    parts = tuple(Image(tmp_path / f"{shade}.png", 784, 3136) for shade in (*shades, shades[0]))
    clips = ClipCache(tmp_path / "cache", 1.0)
    assert clips.find(Several(parts)) is None
    media = clips.fingerprinted(Several(parts))
    frames = clips.load(media)
    assert isinstance(frames, FramesOfSeveral)
    assert [int(part.pixels[0, 0, 0, 0]) for part in frames.parts] == [10, 200, 10]
    assert frames.key == "+".join(map(clip_key, parts))
    assert (clips.find(media) or frames).key == frames.key
    assert clips.decodes == 2
    assert len(ClipFrames(media, clips)(8)) == 3
    clips.close()


def grey_clip(num_frames: int, shade: int, fps: float, side: int) -> Frames:
    pixels = np.full((num_frames, side, side, 3), shade, np.uint8)
    indices = tuple(range(num_frames))
    return Frames(pixels, tuple(i / fps for i in indices), indices, fps, num_frames, num_frames / fps, f"{shade}")


def grey_parts(processor: PromptProcessor) -> FramesOfSeveral:
    """A dark clip, a light image, and a clip between them."""
    side = 2 * processor.size_factor
    return FramesOfSeveral((grey_clip(4, 10, 4.0, side), grey_clip(1, 250, 1.0, side), grey_clip(2, 90, 1.0, side)))


MEDIA = Several((Video(Path("a"), SAMPLING), Image(Path("b"), 4096, 4096), Video(Path("c"), SAMPLING)))


def shown(text: str) -> Prompt:
    return Prompt("p", "multiple_choice", text, MEDIA, ChoiceTarget("A"))


@pytest.fixture(scope="module", params=["qwen2_5", "qwen3"])
def processor(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> PromptProcessor:
    folder = tmp_path_factory.mktemp("policy")
    (build_policy if request.param == "qwen2_5" else build_qwen3_policy)(folder)
    return PromptProcessor(str(folder))


def test_tokens_and_patches_lie_in_the_order_of_the_text(processor: PromptProcessor) -> None:
    inputs = processor.encode(shown("One <media> two <media> three <media> four"), grey_parts(processor))
    text = processor.tokenizer.decode(inputs.token_ids)
    order = ["One", "<|video_pad|>", "two", "<|image_pad|>", "three"]
    places = [text.index(word) for word in order]
    assert places == sorted(places)
    assert text.index("three") < text.rindex("<|video_pad|>") < text.index("four")
    assert inputs.grid is not None
    assert inputs.grid[:, 0].tolist() == [2, 1, 1]
    assert inputs.patches is not None
    patches = inputs.patches.split(inputs.grid.prod(1).tolist())
    shades = torch.stack([part.float().mean() for part in patches])
    assert shades.argsort().tolist() == [0, 2, 1]
    if inputs.seconds_per_grid is not None:
        assert inputs.seconds_per_grid.tolist() == pytest.approx([0.5, 0.0, 2.0], rel=1e-5)
    prompt = shown("Which?")
    engine = processor.engine_input(prompt, processor.engine_media(prompt, grey_parts(processor)))
    assert [len(engine["multi_modal_data"][kind]) for kind in ("video", "image")] == [2, 1]


def test_without_marks_they_follow_the_text(processor: PromptProcessor) -> None:
    text = processor.text(shown("Which?"))
    assert text.index("Which?") < text.index("<|video_pad|>") < text.index("<|image_pad|>")


def test_one_mark_places_a_single_clip(processor: PromptProcessor) -> None:
    prompt = Prompt("p", "multiple_choice", "<media>\nWhich?", MEDIA.parts[0], ChoiceTarget("A"))
    assert processor.text(prompt).index("<|video_pad|>") < processor.text(prompt).index("Which?")
    with pytest.raises(DataError, match="its text has 1 <media> for 3 clips and images"):
        processor.text(shown("<media> Which?"))
