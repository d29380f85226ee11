"""A small Qwen2.5-VL with random weights, prompts with made-up pixels, and completions as if sampled."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import (
    GenerationConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)

from rewards.targets.span import SpanTarget
from rft.data.frames import Frames
from rft.data.processor import PromptInputs
from rft.recipe import Recipe
from rft.types import Completion, Prompt, TrainGroup, Video, VideoSampling

PAD, VISION_START, VISION_END, IMAGE, VIDEO, END = range(6)
VOCABULARY = 40
GRID = (2, 4, 6)


def tiny_config(**text: object) -> Qwen2_5_VLConfig:
    """Vision blocks with windows (unequal ones on GRID) and with full attention."""
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            "rope_parameters": {"rope_type": "default", "rope_theta": 100.0, "mrope_section": [2, 1, 1]},
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": END,
            **text,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 24,
            "out_hidden_size": 32,
            "intermediate_size": 32,
            "num_heads": 2,
            "fullatt_block_indexes": [1],
            "window_size": 56,
            "tokens_per_second": 2,
        },
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=VISION_START,
        vision_end_token_id=VISION_END,
        tie_word_embeddings=True,
    )


def save_tiny(directory: Path, seed: int = 0, **text: object) -> Path:
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(tiny_config(**text)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0 if parameter.ndim > 1 else 1.0)  # away from the flat start: distributions with edges
    model.generation_config = GenerationConfig(eos_token_id=END)
    model.save_pretrained(directory)
    return directory


def save_tiny_qwen2_vl(directory: Path) -> Path:
    torch.manual_seed(0)
    config = Qwen2VLConfig(
        text_config=tiny_config().text_config.to_dict(),
        vision_config={"depth": 1, "embed_dim": 24, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 1},
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=VISION_START,
        vision_end_token_id=VISION_END,
        tie_word_embeddings=True,
    )
    Qwen2VLForConditionalGeneration(config).save_pretrained(directory)
    return directory


class FakeProcessor:
    """Prompt text of numbers, such as "7 8 9", is the token ids; the prompt's id seeds the pixels."""

    banned_token_ids = (VISION_START, VISION_END, IMAGE, VIDEO)
    eos_token_id = END
    pad_token_id = PAD

    def encode(self, prompt: Prompt, frames: object) -> PromptInputs:
        text = tuple(int(word) for word in prompt.text.split())
        frame_pairs, rows, columns = GRID
        visual = (VISION_START, *[VIDEO] * (frame_pairs * rows * columns // 4), VISION_END)
        generator = torch.Generator().manual_seed(len(text))
        return PromptInputs(
            token_ids=(*text[:1], *visual, *text[1:]),
            patches=torch.randn(frame_pairs * rows * columns, 3 * 2 * 14 * 14, generator=generator),
            grid=torch.tensor([GRID]),
            seconds_per_grid=torch.tensor([1.5]),
        )

    def completion_ids(self, text: str) -> tuple[int, ...]:
        return (*(6 + ord(letter) % 30 for letter in text[:20]), END)

    def token_bytes(self, token_ids: Sequence[int]) -> list[int]:
        return [token_id != END for token_id in token_ids]

    def save(self, directory: Path) -> None:
        (directory / "processor.txt").write_text("saved")


class FakeClips:
    """Frames of which only the key counts: that of the video's path."""

    def find(self, video: Video) -> Frames:
        return self.load(video)

    def load(self, video: Video) -> Frames:
        return Frames(np.zeros((2, 1, 1, 3), np.uint8), (0.0, 1.0), (0, 1), 1.0, 2, 2.0, f"key of {video.path}")


def video_of(text: str) -> Video:
    """Equal where FakeProcessor shows equal pixels."""
    return Video(Path(f"{len(text.split())}.mp4"), VideoSampling(1.0, 4, 4, 784, 784, 784))


def sample(prompt_id: str, text: str, token_ids: Sequence[int], advantage: float) -> TrainGroup:
    """A group of one completion."""
    video = video_of(text)
    num_prompt_tokens = len(FakeProcessor().encode(prompt(prompt_id, text), None).token_ids)
    completion = Completion("", tuple(token_ids), (-1.0,) * len(token_ids), num_prompt_tokens, "stop", 0)
    return TrainGroup(Prompt(prompt_id, "t", text, video, SpanTarget(0.0, 1.0)), (completion,), (advantage,))


def group_of(*samples: TrainGroup) -> TrainGroup:
    """One group of all completions, with the prompt of the first sample."""
    completions = tuple(completion for one in samples for completion in one.completions)
    advantages = tuple(advantage for one in samples for advantage in one.advantages)
    return TrainGroup(samples[0].prompt, completions, advantages)


def prompt(prompt_id: str, text: str) -> Prompt:
    video = video_of(text)
    return Prompt(prompt_id, "t", text, video, SpanTarget(0.0, 1.0))


def recipe(**sections: dict[str, object]) -> Recipe:
    plain: dict[str, dict[str, object]] = {
        "learner": {"learning_rate": 1e-2, "lr_scheduler_type": "constant", "dtype": "float32"},
        "sampling": {"max_completion_length": 8},
        "algorithm": {},
    }
    merged = {name: values | sections.get(name, {}) for name, values in plain.items()}
    return Recipe.model_validate({"model": "tiny", "tasks": {}, "data": {"train": ()}, "steps": 4, "seed": 3, **merged})


def three_groups() -> tuple[TrainGroup, ...]:
    """Three groups of unequal length and size."""
    return (
        group_of(sample("a", "7 8 9", (10, 11, 12, END), 1.0), sample("a", "7 8 9", (13, END), -1.0)),
        group_of(
            sample("b", "14 15 16 17 18", (19, 20, 21, 22, 23, END), 0.5),
            sample("b", "14 15 16 17 18", (24,), -1.5),
            sample("b", "14 15 16 17 18", (25, 26, END), 1.0),
        ),
        group_of(sample("c", "27 28", (29, 30, 31), 2.0), sample("c", "27 28", (32, END), -2.0)),
    )
