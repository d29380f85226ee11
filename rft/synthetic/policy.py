"""A tiny Qwen2.5-VL policy with random weights, as a Hugging Face folder: for the quickstart and for tests."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import yaml
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

from rft.synthetic.clips import SIDE
from rft.synthetic.questions import tokenizer_texts

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


def build_policy(directory: Path, seed: int = 0, texts: Iterable[str] | None = None, side: int = SIDE) -> None:
    """Writes the policy to `directory`: about a million random weights, tokenizer, processor, chat template.

    `texts`: what the tokenizer is trained on, default those of the quickstart. `side`: width and height of a frame in
    pixels; each 28 by 28 of a frame pair are a visual token. The same seed gives the same weights; the tokenizer does
    not depend on it. It has the class of the released Qwen2.5-VL models, so that the same code loads both.
    """
    tokenizer = build_tokenizer(tokenizer_texts() if texts is None else texts)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2_5_VLForConditionalGeneration(_config(tokenizer))
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=True, temperature=1.0
    )
    size = {"shortest_edge": side**2, "longest_edge": side**2}
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
    config: Any = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    ids = tokenizer.get_vocab()
    config["text_config"] |= {
        "vocab_size": len(tokenizer),
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    return Qwen2_5_VLConfig(
        **config,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
