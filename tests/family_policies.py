"""Tiny models of Qwen2-VL and Qwen3-VL with random weights, as model folders with all files of a real one."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    ProcessorMixin,
    Qwen2Tokenizer,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from rft.synthetic.policy import CHAT_TEMPLATE, build_tokenizer
from rft.synthetic.questions import tokenizer_texts

SHARED = {
    "patch_size": 16,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
"""Of images and videos, as in the released models: the engine normalises both on its device with one of the two."""


def build_qwen2_policy(directory: Path) -> None:
    """Patches of 14 pixels, time counted in frame pairs."""
    tokenizer = build_tokenizer(tokenizer_texts())
    vision = {"depth": 2, "embed_dim": 64, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2}
    text = text_config(tokenizer)
    del text["head_dim"]
    torch.manual_seed(0)
    model = Qwen2VLForConditionalGeneration(
        Qwen2VLConfig(text_config=text, vision_config=vision, **shared_config(tokenizer))
    )
    size = {"shortest_edge": 56 * 56, "longest_edge": 56 * 56}
    processor = Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=size),
        video_processor=Qwen2VLVideoProcessor(size=size, cap_pixels_per_frame=False),
        tokenizer=tokenizer,
        chat_template=CHAT_TEMPLATE,
    )
    save(model, processor, directory)


def build_qwen3_policy(directory: Path) -> None:
    """Patches of 16 pixels, one inner layer of visual features; times of frame pairs in words."""
    tokenizer = build_tokenizer(tokenizer_texts())
    vision = {
        "depth": 2,
        "hidden_size": 64,
        "out_hidden_size": 64,
        "intermediate_size": 128,
        "num_heads": 2,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
        "initializer_range": 0.08,
    }
    torch.manual_seed(0)
    model = Qwen3VLForConditionalGeneration(
        Qwen3VLConfig(text_config=text_config(tokenizer), vision_config=vision, **shared_config(tokenizer))
    )
    size = {"shortest_edge": 64 * 64, "longest_edge": 64 * 64}
    processor = Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=size, **SHARED),
        video_processor=Qwen3VLVideoProcessor(size={name: 8 * side for name, side in size.items()}, **SHARED),
        tokenizer=tokenizer,
        chat_template=CHAT_TEMPLATE,
    )
    save(model, processor, directory)


def save(model: PreTrainedModel, processor: ProcessorMixin, directory: Path) -> None:
    end = processor.tokenizer.eos_token_id
    model.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=processor.tokenizer.pad_token_id)
    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory)
    processor.save_pretrained(directory)


def text_config(tokenizer: Qwen2Tokenizer) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "max_position_embeddings": 4096,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 100.0,
            "mrope_section": [8, 4, 4],
            "mrope_interleaved": True,
        },
        "bos_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": True,
        "initializer_range": 0.08,
    }


def shared_config(tokenizer: Qwen2Tokenizer) -> dict[str, Any]:
    tokens = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in tokens.items()}
    return {**ids, "tie_word_embeddings": True, "dtype": "float32"}
