"""A tiny Qwen2.5-VL policy with random weights, as a Hugging Face folder: for the quickstart and for tests."""

import re
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import AddedToken, pre_tokenizers
from transformers import (
    GenerationConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from rft.synthetic.questions import tokenizer_texts

FRAME_PIXELS = 56 * 56
"""Pixels of a frame in the folder's processor: two by two visual tokens per frame pair."""

INITIALIZER_RANGE = 0.08
"""Standard deviation of the weights, about 1 / sqrt(hidden size); 0.02 makes this narrow model learn slowly."""

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

TAGS = ("<think>", "</think>", "<answer>", "</answer>", "<glue>", "</glue>")
"""Tags that are one token each, but no special tokens: short completions make the quickstart quick."""

CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja").read_text(encoding="utf-8")


def build_policy(directory: Path, seed: int = 0) -> None:
    """Writes the policy to `directory`: about a million random weights, tokenizer, processor, chat template.

    The same seed gives the same weights; the tokenizer does not depend on it. It has the class of the
    released Qwen2.5-VL models, so that the same code loads both.
    """
    tokenizer = build_tokenizer(tokenizer_texts())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2_5_VLForConditionalGeneration(_config(tokenizer))
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=True, temperature=1.0
    )
    size = {"shortest_edge": FRAME_PIXELS, "longest_edge": FRAME_PIXELS}
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=size),
        video_processor=Qwen2VLVideoProcessor(size=size, cap_pixels_per_frame=False),
        tokenizer=tokenizer,
        chat_template=CHAT_TEMPLATE,
    )
    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory)
    processor.save_pretrained(directory)


def build_tokenizer(texts: Iterable[str]) -> Qwen2Tokenizer:
    """A byte-level BPE tokenizer like Qwen2's: each digit and every word of `texts` is one token."""
    split_tags = re.compile("|".join(TAGS))
    tokenizer: Qwen2Tokenizer = Qwen2Tokenizer().train_new_from_iterator(
        (part for text in texts for part in split_tags.split(text)),
        vocab_size=4096,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        new_special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS],
    )
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in TAGS])
    tokenizer.eos_token = "<|im_end|>"
    tokenizer.pad_token = "<|endoftext|>"
    return tokenizer


def _config(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLConfig:
    token_ids = tokenizer.get_vocab()
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 128,
        "intermediate_size": 320,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "rope_parameters": {"rope_type": "default", "rope_theta": 100.0, "mrope_section": [8, 4, 4]},
        "bos_token_id": token_ids["<|endoftext|>"],
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": True,
        "initializer_range": INITIALIZER_RANGE,
    }
    vision = {
        "depth": 1,
        "hidden_size": 96,
        "out_hidden_size": 128,
        "intermediate_size": 192,
        "num_heads": 3,
        "fullatt_block_indexes": [0],
        # Frame pairs are a second apart in the quickstart: one position each, as the thoughts have one word for each.
        "tokens_per_second": 1,
        "initializer_range": INITIALIZER_RANGE,
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=token_ids["<|image_pad|>"],
        video_token_id=token_ids["<|video_pad|>"],
        vision_start_token_id=token_ids["<|vision_start|>"],
        vision_end_token_id=token_ids["<|vision_end|>"],
        tie_word_embeddings=True,
        dtype="float32",
    )
