"""A Qwen2.5-VL of a chosen size with random weights, one video of noise, and made-up completions, for benchmarks."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import AutoConfig, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from rewards.targets.span import SpanTarget
from rft.data.processor import PromptInputs
from rft.synthetic.policy import build_policy
from rft.types import Completion, Prompt, TrainGroup, Video, VideoSampling

VISION_START, VISION_END, IMAGE, VIDEO, END = 0, 1, 2, 3, 4
FRAME_PAIRS = 20
NUM_TEXT_TOKENS = 40
"""At least so many tokens of the prompt are text."""


@dataclass(frozen=True, slots=True)
class Size:
    text: dict[str, object]
    vision: dict[str, object]


def _text(
    hidden: int, mlp: int, layers: int, heads: int, kv_heads: int, vocabulary: int, sections: list[int], *, tied: bool
) -> dict[str, object]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 128_000,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": sections},
        "tie_word_embeddings": tied,
    }


def _tower(hidden: int, mlp: int, depth: int, heads: int, full: list[int], out: int) -> dict[str, object]:
    return {
        "hidden_size": hidden,
        "intermediate_size": mlp,
        "depth": depth,
        "num_heads": heads,
        "fullatt_block_indexes": full,
        "out_hidden_size": out,
        "tokens_per_second": 2,
    }


def _qwen(hidden: int, mlp: int, layers: int, heads: int, kv_heads: int, *, tied: bool) -> Size:
    text = _text(hidden, mlp, layers, heads, kv_heads, 151_936, [16, 24, 24], tied=tied)
    return Size(text, _tower(1280, 3420, 32, 16, [7, 15, 23, 31], hidden))


SIZES = {
    "1m": Size(_text(128, 320, 3, 4, 2, 1024, [8, 4, 4], tied=True), _tower(96, 192, 1, 3, [0], 128)),
    "30m": Size(_text(512, 1536, 8, 8, 2, 1024, [16, 8, 8], tied=True), _tower(256, 512, 4, 4, [3], 512)),
    "3b": _qwen(2048, 11_008, 36, 16, 2, tied=True),
    "7b": _qwen(3584, 18_944, 28, 28, 4, tied=False),
}
"""1m: the shape of the quickstart's policy. 3b and 7b: the published shapes of Qwen2.5-VL."""


def write_model(size: Size, directory: Path, device: torch.device) -> int:
    """Save a model with random weights; returns the number of parameters."""
    return _save(model_config(size), torch.bfloat16, directory, device)


def model_config(size: Size) -> Qwen2_5_VLConfig:
    return Qwen2_5_VLConfig(
        text_config=size.text | {"bos_token_id": None, "eos_token_id": END},
        vision_config=size.vision,
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=VISION_START,
        vision_end_token_id=VISION_END,
        tie_word_embeddings=size.text["tie_word_embeddings"],
    )


def _save(config: Qwen2_5_VLConfig, dtype: torch.dtype, directory: Path, device: torch.device) -> int:
    torch.manual_seed(0)
    with torch.device(device):
        model = Qwen2_5_VLForConditionalGeneration._from_config(config, dtype=dtype)
    model.save_pretrained(directory)
    num_parameters: int = sum(parameter.numel() for parameter in model.parameters())
    del model
    if device.type == "cuda":
        torch.cuda.empty_cache()  # other processes share the GPU
    return num_parameters


def write_policy(folder: Path, size: str) -> int:
    """A policy of `size` with the tokenizer and the processor of the tiny one; returns the number of parameters.

    The vocabulary may be larger than the tokenizer's. What the engine samples beyond that decodes to nothing.
    """
    write_shape(folder, size)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    return _save(AutoConfig.from_pretrained(folder), dtype, folder, device)


def write_shape(folder: Path, size: str) -> None:
    """The policy but for its weights."""
    build_policy(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    shape = SIZES[size]
    for name, values in (("text_config", shape.text), ("vision_config", shape.vision)):
        # As in a trained model, scores and logits should be of a size that bfloat16 tells apart.
        config[name] |= values | {"initializer_range": float(str(values["hidden_size"])) ** -0.5}
    vocabulary = max(config["text_config"]["vocab_size"], int(str(shape.text["vocab_size"])))
    config["text_config"]["vocab_size"] = vocabulary
    config["text_config"].pop("layer_types", None)  # one per layer
    config["tie_word_embeddings"] = shape.text["tie_word_embeddings"]
    path.write_text(json.dumps(config), encoding="utf-8")


class OneVideo:
    """Processor and clips in one: every prompt is the same video and words, `num_tokens` in all."""

    banned_token_ids = (VISION_START, VISION_END, IMAGE, VIDEO)
    eos_token_id = END
    key = "one video"

    def __init__(self, num_tokens: int, vocabulary: int, *, text_only: bool) -> None:
        cells = max((num_tokens - NUM_TEXT_TOKENS) // FRAME_PAIRS, 1)
        rows = math.isqrt(cells)
        self.grid = (0, 0, 0) if text_only else (FRAME_PAIRS, 2 * rows, 2 * (cells // rows))
        num_visual = math.prod(self.grid) // 4
        words = torch.randint(5, vocabulary, (num_tokens - (num_visual + 2 if num_visual else 0),)).tolist()
        visual = (VISION_START, *[VIDEO] * num_visual, VISION_END) if num_visual else ()
        self.inputs = PromptInputs(
            token_ids=(*words[:20], *visual, *words[20:]),
            patches=None if text_only else torch.randn(math.prod(self.grid), 3 * 2 * 14 * 14),
            grid=None if text_only else torch.tensor([self.grid]),
            seconds_per_grid=torch.tensor([1.0]),
        )

    def encode(self, prompt: Prompt, frames: object) -> PromptInputs:
        """With patches of its own, as of a clip that no cache holds."""
        patches = self.inputs.patches
        return replace(self.inputs, patches=None if patches is None else patches.clone())

    def load(self, video: Video) -> "OneVideo":
        return self

    def token_bytes(self, token_ids: Sequence[int]) -> list[int]:
        """The completions have no text."""
        return [0] * len(token_ids)


def make_group(num_prompt_tokens: int, completions: Sequence[Sequence[int]]) -> TrainGroup:
    video = Video(Path("none.mp4"), VideoSampling(2.0, 4, 768, 784, 784, 784))
    prompt = Prompt("p", "t", "", video, SpanTarget(0.0, 1.0))
    drawn = tuple(
        Completion("", tuple(token_ids), (0.0,) * len(token_ids), num_prompt_tokens, "stop", 0)
        for token_ids in completions
    )
    return TrainGroup(prompt, drawn, tuple(1.0 if number % 2 else -1.0 for number in range(len(drawn))))
