"""Prompt and Frames -> token ids and model inputs, by the model's own processor: one way for learner and engine."""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoProcessor
from transformers.video_utils import VideoMetadata

from rft.data.frames import Frames
from rft.errors import DataError
from rft.types import Prompt

VISION_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")
"""Tokens of the Qwen-VL vocabulary that stand for pixels; sampled, they would break the learner's forward pass."""

FPS_NUDGE = 1 - 1e-6
"""Learner and engine turn seconds into whole M-RoPE positions by truncation, one in single precision, the other in
double. Seconds that are a millionth too long keep exact multiples off the edge, where the two would differ."""

MAX_CACHED_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class PromptInputs:
    """What the model reads for one prompt."""

    token_ids: tuple[int, ...]
    """The visual placeholders expanded, the generation prompt at the end."""
    pixel_values_videos: torch.Tensor
    """float32 [patches, patch size]."""
    video_grid_thw: torch.Tensor
    """int64 [1, 3]: frame pairs, rows and columns of patches."""
    second_per_grid_ts: torch.Tensor
    """float32 [1]: seconds between frame pairs."""


class PromptProcessor:
    """Chat template, tokenizer and video processor of a model folder or hub name. DataError: it lacks one of them."""

    def __init__(self, model: str, system_prompt: str | None = None) -> None:
        self._processor = _load(model)
        self._system_prompt = system_prompt
        self._cache: OrderedDict[tuple[str, str], PromptInputs] = OrderedDict()
        self._cached_bytes = 0
        self._video_token: str = self._processor.video_token
        tokenizer = self._processor.tokenizer
        vocabulary = tokenizer.get_vocab()
        self.eos_token_id: int = tokenizer.eos_token_id
        self.video_token_id: int = vocabulary[self._video_token]
        self.banned_token_ids: tuple[int, ...] = tuple(
            sorted({vocabulary[token] for token in (*VISION_TOKENS, self._video_token) if token in vocabulary})
        )
        video = self._processor.video_processor
        self.size_factor: int = video.patch_size * video.merge_size
        """Frame sides are multiples of it."""

    @property
    def tokenizer(self) -> Any:
        return self._processor.tokenizer

    def text(self, prompt: Prompt) -> str:
        """The chat up to where the policy writes, with one placeholder for the video. DataError: more than one."""
        content = [{"type": "text", "text": prompt.text}, {"type": "video"}]
        messages: list[dict[str, object]] = [{"role": "user", "content": content}]
        if self._system_prompt is not None:
            messages.insert(0, {"role": "system", "content": self._system_prompt})
        text: str = self._processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        if text.count(self._video_token) != 1:
            raise DataError(
                f"prompt {prompt.prompt_id}: the chat has {text.count(self._video_token)} {self._video_token} instead "
                "of one. Take it out of the row, or use a chat template that shows the video once."
            )
        return text

    def encode(self, prompt: Prompt, frames: Frames) -> PromptInputs:
        """The model inputs of `prompt` on `frames`."""
        text = self.text(prompt)
        key = (text, frames.key)
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        outputs = self._processor(
            text=[text],
            videos=[frames.pixels],
            video_metadata=[VideoMetadata(**_metadata(frames))],
            do_sample_frames=False,
            return_tensors="pt",
            **self.engine_options()["mm_processor_kwargs"],
        )
        inputs = PromptInputs(
            token_ids=tuple(outputs["input_ids"][0].tolist()),
            pixel_values_videos=outputs["pixel_values_videos"],
            video_grid_thw=outputs["video_grid_thw"],
            second_per_grid_ts=torch.as_tensor(outputs["second_per_grid_ts"], dtype=torch.float32),
        )
        self._keep(key, inputs)
        return inputs

    def engine_input(self, prompt: Prompt, frames: Frames) -> dict[str, Any]:
        """The same prompt as one input of vLLM's `LLM.generate`."""
        metadata = _metadata(frames) | {"do_sample_frames": False}
        return {"prompt": self.text(prompt), "multi_modal_data": {"video": [(frames.pixels, metadata)]}}

    def engine_options(self) -> dict[str, Any]:
        """Arguments of vLLM's `LLM` that make it take frames as they are: they arrive at their final size."""
        return {"mm_processor_kwargs": {"do_resize": False, "cap_pixels_per_frame": False}}

    def seconds_per_grid(self, frames: Frames) -> float:
        """Between frame pairs, as `encode` states them."""
        frames_per_grid: int = self._processor.video_processor.temporal_patch_size
        return frames_per_grid / float(VideoMetadata(**_metadata(frames)).sampled_fps)

    def completion_ids(self, text: str) -> tuple[int, ...]:
        """The tokens of a completion, the end token included."""
        ids = self._processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        return (*ids, self.eos_token_id)

    def save(self, directory: Path) -> None:
        self._processor.save_pretrained(directory)

    def _keep(self, key: tuple[str, str], inputs: PromptInputs) -> None:
        self._cache[key] = inputs
        self._cached_bytes += inputs.pixel_values_videos.nbytes
        while self._cached_bytes > MAX_CACHED_BYTES:
            _, dropped = self._cache.popitem(last=False)
            self._cached_bytes -= dropped.pixel_values_videos.nbytes


def _metadata(frames: Frames) -> dict[str, Any]:
    return {
        "total_num_frames": frames.num_source_frames,
        "fps": frames.source_fps * FPS_NUDGE,
        "duration": frames.duration_s,
        "frames_indices": list(frames.frame_indices),
        "video_backend": "rft",
    }


def _load(model: str) -> Any:
    try:
        processor = AutoProcessor.from_pretrained(model)
    except (OSError, ValueError, ImportError) as error:
        raise DataError(f"model {model}: its processor cannot be loaded: {str(error).splitlines()[0]}") from error
    parts = ("tokenizer", "video_processor", "video_token", "chat_template")
    missing = [part for part in parts if getattr(processor, part, None) is None]
    if missing:
        raise DataError(
            f"model {model}: no {', '.join(missing)}. Copy the processor, tokenizer and chat template files of the "
            "original model into the folder."
        )
    if processor.tokenizer.eos_token_id is None:
        raise DataError(f"model {model}: its tokenizer has no end token")
    return processor
