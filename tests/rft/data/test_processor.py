from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from family_policies import build_qwen3_policy
from grey_clips import SAMPLING
from transformers import AutoConfig, AutoTokenizer, Qwen2_5_VLForConditionalGeneration
from transformers.video_utils import VideoMetadata

from rewards.targets.choice import ChoiceTarget
from rewards.targets.span import SpanTarget
from rft.data.frames import Frames
from rft.data.patches import scaled
from rft.data.processor import FPS_NUDGE, PromptProcessor
from rft.errors import DataError
from rft.learner.batch import prompt_positions
from rft.synthetic.policy import build_policy
from rft.types import Image, Media, Prompt, Video

QUESTION = "When does it move?"


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> PromptProcessor:
    directory = tmp_path_factory.mktemp("qwen3")
    build_qwen3_policy(directory)
    return PromptProcessor(str(directory))


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("policy")
    build_policy(directory)
    return directory


def make_prompt(text: str = QUESTION) -> Prompt:
    return Prompt("p", "temporal_grounding", text, Video(Path("clip.mp4"), SAMPLING), SpanTarget(0.0, 1.0))


def question(media: Media | None, text: str = "Which?") -> Prompt:
    return Prompt("q", "multiple_choice", text, media, ChoiceTarget("A"))


def make_image(height: int, width: int) -> Frames:
    pixels = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)
    return Frames(pixels, (0.0,), (0,), 0.0, 1, 0.0, f"{height} x {width}")


IMAGE = Image(Path("a.png"), 3136, 3136)


def make_frames(num_frames: int = 8, fps: float = 4.0, every: int = 2, seed: int = 0) -> Frames:
    pixels = np.random.default_rng(seed).integers(0, 256, (num_frames, 56, 84, 3), np.uint8)
    total = num_frames * every
    indices = tuple(range(0, total, every))
    return Frames(
        pixels, tuple(i / fps for i in indices), indices, fps, total, total / fps, f"{num_frames} {fps} {seed}"
    )


def engine_input(processor: PromptProcessor, prompt: Prompt, frames: Frames | None) -> dict[str, Any]:
    return processor.engine_input(prompt, processor.engine_media(prompt, frames))


def test_prompt_has_the_chat_around_question_and_video(policy: Path) -> None:
    processor = PromptProcessor(str(policy))
    inputs = processor.encode(make_prompt(), make_frames())
    text = processor.tokenizer.decode(inputs.token_ids)
    assert text.startswith("<|im_start|>system\n")
    pads = "<|video_pad|>" * (4 * 2 * 3)
    assert f"{QUESTION}<|vision_start|>{pads}<|vision_end|><|im_end|>" in text
    assert text.endswith("<|im_start|>assistant\n")
    assert inputs.grid.tolist() == [[4, 4, 6]]
    assert inputs.patches.shape == (4 * 4 * 6, 3 * 2 * 14 * 14)


def test_frames_are_taken_at_their_size_and_pixel_values_kept(policy: Path) -> None:
    frames = make_frames()
    inputs = PromptProcessor(str(policy)).encode(make_prompt(), frames)
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
    expected = (torch.from_numpy(frames.pixels[0, :14, :14]) / 255 - mean) / std
    first = scaled(inputs.patches, inputs.scale)[0].reshape(3, 2, 14, 14)[:, 0].permute(1, 2, 0)
    assert torch.allclose(first, expected, atol=1e-5)


@pytest.mark.parametrize("family", ["policy", "qwen3"])
def test_bytes_become_the_floats_that_the_models_processor_gives(family: str, request: pytest.FixtureRequest) -> None:
    """Bit for bit, of clip and image, whose pixels have each of the 256 values."""
    policy = request.getfixturevalue(family)
    processor = policy if isinstance(policy, PromptProcessor) else PromptProcessor(str(policy))
    side = 4 * processor.size_factor
    pixels = np.random.default_rng(1).integers(0, 256, (4, side, side, 3), np.uint8)
    clip = replace(make_frames(num_frames=4), pixels=pixels, key="clip")
    image = replace(make_image(28, 28), pixels=pixels[:1], key="image")
    own = processor._processor
    kwargs = {"do_resize": False, "return_tensors": "pt"}
    expected = {
        "clip": own.video_processor(videos=[pixels], do_sample_frames=False, **kwargs)["pixel_values_videos"],
        "image": own.image_processor(images=[PIL.Image.fromarray(pixels[0])], **kwargs)["pixel_values"],
    }
    found = {"clip": processor.encode(make_prompt(), clip), "image": processor.encode(question(IMAGE), image)}
    for name, inputs in found.items():
        assert inputs.patches.dtype == torch.uint8
        assert torch.equal(scaled(inputs.patches, inputs.scale), expected[name])


def test_patches_are_floats_where_clips_and_images_are_scaled_otherwise(policy: Path, tmp_path: Path) -> None:
    processor = PromptProcessor(str(policy))
    inputs = processor.encode(make_prompt(), make_frames())
    processor._processor.image_processor.image_mean = [0.5, 0.5, 0.5]
    processor.save(tmp_path)
    own = PromptProcessor(str(tmp_path)).encode(make_prompt(), make_frames())
    assert own.scale is None
    assert torch.equal(own.patches, scaled(inputs.patches, inputs.scale))


def test_a_system_prompt_replaces_the_default(policy: Path) -> None:
    text = PromptProcessor(str(policy), "You watch clips.").text(make_prompt())
    assert text.startswith("<|im_start|>system\nYou watch clips.<|im_end|>\n<|im_start|>user\n")


@pytest.mark.parametrize(("fps", "every", "seconds"), [(4.0, 2, 1.0), (8.0, 2, 0.5), (30.0, 1, 1 / 15), (5.0, 4, 1.6)])
def test_seconds_between_frame_pairs_follow_the_sampled_rate(
    policy: Path, fps: float, every: int, seconds: float
) -> None:
    inputs = PromptProcessor(str(policy)).encode(make_prompt(), make_frames(fps=fps, every=every))
    assert inputs.seconds_per_grid.item() == pytest.approx(seconds, rel=1e-5)


@pytest.mark.parametrize("fps", [4.0, 30.0, 5.714])
def test_positions_above_two_frames_per_second_do_not_collapse(policy: Path, fps: float) -> None:
    """Code that takes seconds per frame pair as whole numbers gives all frames one position here."""
    processor = PromptProcessor(str(policy))
    inputs = processor.encode(make_prompt(), make_frames(num_frames=64, fps=fps, every=1))
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(AutoConfig.from_pretrained(policy))
    positions = prompt_positions(model, inputs.token_ids, inputs.grid, inputs.seconds_per_grid)
    in_time = positions[0][torch.tensor(inputs.token_ids) == processor.video_token_id].unique()
    per_second = model.config.vision_config.tokens_per_second
    expected = sorted({int(pair * per_second * (2 / fps) * (1 + 1e-6)) for pair in range(32)})
    assert (in_time - in_time[0]).tolist() == expected


def test_single_and_double_precision_agree_on_positions() -> None:
    """The learner multiplies in single, the engine in double precision; without the nudge they differ here."""

    def differ(nudge: float) -> int:
        pairs = np.arange(384)
        count = 0
        for num_frames in range(4, 130, 2):
            for seconds in range(1, 130):
                interval = np.float32(2 / (num_frames / seconds * nudge))
                single = (torch.arange(384) * (2 * torch.tensor(interval))).long().numpy()
                double = (pairs * (2 * float(interval))).astype(np.int64)
                count += bool((single != double).any())
        return count

    assert differ(1.0) > 0
    assert differ(FPS_NUDGE) == 0


def test_equal_prompts_on_equal_frames_are_encoded_once(policy: Path) -> None:
    processor = PromptProcessor(str(policy))
    first = processor.encode(make_prompt(), make_frames())
    assert processor.encode(make_prompt(), make_frames()) is first
    assert processor.encode(make_prompt("Which way?"), make_frames()) is not first
    assert processor.encode(make_prompt(), make_frames(seed=1)) is not first


def test_completion_ends_with_the_end_token(policy: Path) -> None:
    processor = PromptProcessor(str(policy))
    ids = processor.completion_ids("<answer>1.5 to 3.0</answer>")
    assert ids[-1] == processor.eos_token_id
    assert processor.tokenizer.decode(ids) == "<answer>1.5 to 3.0</answer><|im_end|>"


def test_every_placeholder_of_pixels_is_banned(policy: Path) -> None:
    processor = PromptProcessor(str(policy))
    banned = processor.tokenizer.convert_ids_to_tokens(processor.banned_token_ids)
    assert set(banned) == {"<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"}


def test_a_placeholder_inside_a_row_is_refused(policy: Path) -> None:
    with pytest.raises(DataError, match=r"prompt p: the chat has 2 <\|video_pad\|>"):
        PromptProcessor(str(policy)).encode(make_prompt("What is <|video_pad|>?"), make_frames())


def test_a_saved_processor_encodes_the_same(policy: Path, tmp_path: Path) -> None:
    processor = PromptProcessor(str(policy))
    processor.save(tmp_path)
    saved = PromptProcessor(str(tmp_path)).encode(make_prompt(), make_frames())
    assert saved.token_ids == processor.encode(make_prompt(), make_frames()).token_ids


def test_a_model_folder_without_a_processor_is_named(policy: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"processor cannot be loaded"):
        PromptProcessor(str(tmp_path))
    AutoTokenizer.from_pretrained(policy).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_bytes((policy / "config.json").read_bytes())
    with pytest.raises(DataError, match=r"model .*(video_processor|processor cannot be loaded)"):
        PromptProcessor(str(tmp_path))


def test_an_image_is_taken_at_its_size_and_shown_as_an_image(policy: Path) -> None:
    processor, frames = PromptProcessor(str(policy)), make_image(56, 84)
    inputs = processor.encode(question(IMAGE), frames)
    text = processor.tokenizer.decode(inputs.token_ids)
    assert f"Which?<|vision_start|>{'<|image_pad|>' * 6}<|vision_end|><|im_end|>" in text
    assert inputs.grid.tolist() == [[1, 4, 6]]
    assert inputs.seconds_per_grid is None
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
    expected = (torch.from_numpy(frames.pixels[0, :14, :14]) / 255 - mean) / std
    first = scaled(inputs.patches, inputs.scale)[0].reshape(3, 2, 14, 14).permute(1, 2, 3, 0)
    assert torch.allclose(first, expected.expand(2, -1, -1, -1), atol=1e-5)  # twice, as a frame pair of its own
    (shown,) = engine_input(processor, question(IMAGE), frames)["multi_modal_data"]["image"]
    assert np.array_equal(np.asarray(shown), frames.pixels[0])


def test_a_text_alone_has_nothing_but_tokens(policy: Path) -> None:
    processor = PromptProcessor(str(policy))
    inputs = processor.encode(question(None), None)
    assert processor.tokenizer.decode(inputs.token_ids).endswith("Which?<|im_end|>\n<|im_start|>assistant\n")
    assert (inputs.patches, inputs.grid, inputs.seconds_per_grid) == (None, None, None)
    assert engine_input(processor, question(None), None).keys() == {"prompt"}


@pytest.mark.parametrize("token", ["<|image_pad|>", "<|video_pad|>"])
def test_placeholders_of_what_is_not_shown_are_refused(policy: Path, token: str) -> None:
    with pytest.raises(DataError, match=r"prompt q: the chat has 1 <\|...+_pad\|> instead of none"):
        PromptProcessor(str(policy)).encode(question(None, f"What is {token}?"), None)


def test_qwen3_tells_the_times_of_frame_pairs_in_words(qwen3: PromptProcessor) -> None:
    frames = replace(make_frames(num_frames=4, fps=4.0), pixels=make_frames(num_frames=4).pixels[:, :32, :64])
    inputs = qwen3.encode(make_prompt(), frames)
    assert qwen3.size_factor == 32
    assert inputs.grid.tolist() == [[2, 2, 4]]
    assert inputs.patches.shape == (2 * 2 * 4, 3 * 2 * 16 * 16)
    assert inputs.seconds_per_grid is None
    pair = "<|vision_start|><|video_pad|><|video_pad|><|vision_end|>"
    text = qwen3.tokenizer.decode(inputs.token_ids)
    assert f"<0.2 seconds>{pair}<1.2 seconds>{pair}" in text  # of 0, 0.5 and 1, 1.5 s, rounded as Python rounds

    # The same tokens and patches as from the model's own processor, given rate and indices of the frames.
    metadata = VideoMetadata(total_num_frames=8, fps=4.0, duration=2.0, frames_indices=[0, 2, 4, 6])
    plain = qwen3._processor(
        text=[qwen3.text(make_prompt())],
        videos=[frames.pixels],
        video_metadata=[metadata],
        do_sample_frames=False,
        do_resize=False,
        return_tensors="pt",
    )
    assert inputs.token_ids == tuple(plain["input_ids"][0].tolist())
    assert torch.equal(scaled(inputs.patches, inputs.scale), plain["pixel_values_videos"])


def test_qwen3_times_count_from_the_start_of_the_clip_and_hold_at_a_variable_rate(qwen3: PromptProcessor) -> None:
    pixels = make_frames(num_frames=4).pixels[:, :32, :64]
    frames = Frames(pixels, (0.1, 0.3, 5.0, 7.0), (100, 102, 104, 106), 20.0, 50, 8.0, "late")
    inputs = qwen3.encode(make_prompt("When, late?"), frames)
    text = qwen3.tokenizer.decode(inputs.token_ids)
    assert text.index("<0.2 seconds>") < text.index("<6.0 seconds>")
    ((_, metadata),) = engine_input(qwen3, make_prompt(), frames)["multi_modal_data"]["video"]
    assert [index / metadata["fps"] for index in metadata["frames_indices"]] == [0.1, 0.3, 5.0, 7.0]


def test_qwen3_reads_images_and_texts(qwen3: PromptProcessor) -> None:
    inputs = qwen3.encode(question(IMAGE), make_image(64, 96))
    assert inputs.grid.tolist() == [[1, 4, 6]]
    assert qwen3.tokenizer.decode(inputs.token_ids).count("<|image_pad|>") == 6
    assert qwen3.encode(question(None), None).grid is None


@pytest.fixture(params=["qwen2_5", "qwen3"])
def streams(request: pytest.FixtureRequest, policy: Path, qwen3: PromptProcessor) -> PromptProcessor:
    folder = policy if request.param == "qwen2_5" else qwen3._processor.tokenizer.name_or_path
    return PromptProcessor(str(folder), clip_first=True)


def test_the_stretches_of_a_stream_are_read_as_the_clip(streams: PromptProcessor) -> None:
    frames = make_frames(num_frames=20)
    frames = replace(frames, pixels=np.resize(frames.pixels, (20, 64, 64, 3))) if streams.size_factor == 32 else frames
    whole, media = streams.encode(make_prompt(), frames), streams.engine_media(make_prompt(), frames)
    assert [len(part.pixels) for part in media["video"]] == [8, 8, 4]
    if whole.seconds_per_grid is not None:
        seconds = [streams.seconds_per_grid(part) for part in media["video"]]
        assert seconds == [streams.seconds_per_grid(frames)] * 3
    parts = streams._processor(
        text=[streams.engine_input(make_prompt(), media)["prompt"]],
        videos=[part.pixels for part in media["video"]],
        video_metadata=[VideoMetadata(**streams._metadata(part)) for part in media["video"]],
        do_sample_frames=False,
        do_resize=False,
        cap_pixels_per_frame=False,
        return_tensors="pt",
    )
    assert tuple(parts["input_ids"][0].tolist()) == whole.token_ids
    assert torch.equal(parts["pixel_values_videos"], scaled(whole.patches, whole.scale))
    assert parts["video_grid_thw"][:, 0].tolist() == [4, 4, 2]


def test_clips_that_begin_alike_have_their_first_stretches_in_common() -> None:
    def keys(frames: Frames) -> list[str]:
        return [part.key for part in frames.stretches(8)]

    clip = make_frames(num_frames=24)
    earlier = Frames(clip.pixels[:20], clip.timestamps_s[:20], clip.frame_indices[:20], 4.0, 40, 10.0, "earlier")
    later = replace(clip, pixels=np.concatenate([clip.pixels[:16], 255 - clip.pixels[16:]]))
    assert keys(earlier)[:2] == keys(later)[:2] == keys(clip)[:2]
    assert len({*keys(clip), *keys(earlier), *keys(later)}) == 5
    slower = replace(clip, source_fps=2.0)
    moved = replace(clip, timestamps_s=tuple(time_s + 0.5 for time_s in clip.timestamps_s))
    assert not {*keys(slower), *keys(moved)} & {*keys(clip)}
