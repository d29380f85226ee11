"""Prompt and Frames -> token ids and model inputs, by the model's processor; the same for learner and engine."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import PIL.Image
import torch
from transformers import AutoProcessor, Qwen3VLProcessor
from transformers.video_utils import VideoMetadata

from rft.data.cache import MemoryCache
from rft.data.frames import Frames, Shown, frames_of
from rft.data.patches import byte_scale, joined
from rft.errors import DataError
from rft.recipe import Recipe
from rft.types import FRAMES_PER_GRID, MEDIA_MARK, Image, Prompt, Several, Video

Kind = Literal["video", "image"]

VISION_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")
"""Tokens of the Qwen-VL vocabulary that stand for pixels; if sampled, they would break the learner's forward pass."""

FPS_NUDGE = 1 - 1e-6
"""Learner and engine turn seconds into whole M-RoPE positions by truncation, one in single precision, the other in
double. Seconds a millionth too long keep exact multiples off the edge at which the two would differ."""

STRETCH_FRAMES = 4 * FRAMES_PER_GRID
"""Frames of a stream that an engine gets, and keeps, as one item: so many more may be computed again."""

MAX_CACHED_BYTES = 1 << 30
"""Limit of processed clips and images in memory: about 60 clips of 3,700 tokens."""


@dataclass(frozen=True, slots=True)
class PromptInputs:
    """Inputs of the model for one prompt."""

    token_ids: tuple[int, ...]
    """[T], with the visual placeholders expanded and the generation prompt at the end."""
    patches: torch.Tensor | None = None
    """[patches, patch size], of the n clips and images in order: bytes, or floats with `scale` None; None: text."""
    grid: torch.Tensor | None = None
    """int64 [n, 3]: frame pairs (of an image: 1), rows and columns of patches."""
    seconds_per_grid: torch.Tensor | None = None
    """float32 [n]: seconds between frame pairs, 0 for an image; None: the model's positions do not use them, or there
    is no clip."""
    scale: torch.Tensor | None = None
    """As of `rft.data.patches.byte_scale`; None: the patches are what the tower takes."""

    @property
    def num_bytes(self) -> int:
        """Bytes of the patches; everything else is small."""
        return 0 if self.patches is None else self.patches.nbytes


class PromptProcessor:
    """Chat template, tokenizer, image and video processor of a model folder or hub name. DataError: it lacks one."""

    def __init__(self, model: str, system_prompt: str | None = None, *, clip_first: bool = False) -> None:
        """`clip_first`: clips and images stand before the text, so that prompts about one clip begin alike."""
        self._processor = _load(model)
        self._system_prompt = system_prompt
        self._clip_first = clip_first
        self._cache = MemoryCache[tuple[str, str | None], PromptInputs](MAX_CACHED_BYTES)
        self._video_token: str = self._processor.video_token
        self._image_token: str = self._processor.image_token
        self._writes_times = isinstance(self._processor, Qwen3VLProcessor)
        """Whether the prompt states the time of a frame pair in words, instead of by its position."""
        self.tokenizer: Any = self._processor.tokenizer
        self._unwritten = frozenset(self.tokenizer.all_special_tokens)
        vocabulary, pad_token_id = self.tokenizer.get_vocab(), self.tokenizer.pad_token_id
        self.eos_token_id: int = self.tokenizer.eos_token_id
        self.pad_token_id: int = self.eos_token_id if pad_token_id is None else pad_token_id
        """What transformers' `generate` writes after the end of a completion."""
        self.video_token_id: int = vocabulary[self._video_token]
        special = {*VISION_TOKENS, self._video_token, self._image_token}
        self.banned_token_ids: tuple[int, ...] = tuple(sorted(vocabulary[token] for token in special & set(vocabulary)))
        video = self._processor.video_processor
        self._scale = byte_scale(video, self._processor.image_processor)
        self.size_factor: int = video.patch_size * video.merge_size
        """Frame sides are multiples of it."""

    @classmethod
    def of(cls, model: str, recipe: Recipe) -> "PromptProcessor":
        """That of a run of `recipe`, whose policy is in `model`."""
        return cls(model, recipe.system_prompt, clip_first=recipe.video.stream)

    def text(self, prompt: Prompt) -> str:
        """The chat before the completion, with a placeholder for each clip and image.

        They stand at the text's marks (MEDIA_MARK), behind a text without marks. Raises DataError if it has others.
        """
        kinds = _kinds(prompt)
        texts = prompt.text.split(MEDIA_MARK)
        if len(texts) == 1:
            texts = [*[""] * len(kinds), *texts] if self._clip_first else [*texts, *[""] * len(kinds)]
        if len(texts) != len(kinds) + 1:
            raise DataError(
                f"prompt {prompt.prompt_id}: its text has {len(texts) - 1} {MEDIA_MARK} for {len(kinds)} clips and "
                "images. Write one for each, or none."
            )
        content = []
        for text, kind in itertools.zip_longest(texts, kinds):
            content += [{"type": "text", "text": text}] if text else []
            content += [{"type": kind}] if kind else []
        messages: list[dict[str, object]] = [{"role": "user", "content": content}]
        if self._system_prompt is not None:
            messages.insert(0, {"role": "system", "content": self._system_prompt})
        chat: str = self._processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        for token, number in ((self._video_token, kinds.count("video")), (self._image_token, kinds.count("image"))):
            if chat.count(token) != number:
                raise DataError(
                    f"prompt {prompt.prompt_id}: the chat has {chat.count(token)} {token} instead of "
                    f"{number or 'none'}. Take it out of the row, or use a chat template that shows each clip and "
                    "image once."
                )
        return chat

    def encode(self, prompt: Prompt, frames: Shown | None) -> PromptInputs:
        """Model inputs of `prompt` with the frames of its clips and images; `frames` None: text only."""
        text = self.text(prompt)
        key = (text, None if frames is None else frames.key)
        if (cached := self._cache.get(key)) is not None:
            return cached
        outputs = self._processor(text=[text], return_tensors="pt", **self._media_args(prompt, frames))
        token_ids = tuple(outputs["input_ids"][0].tolist())
        if frames is None:
            return PromptInputs(token_ids)
        inputs = PromptInputs(token_ids, *_in_order(_kinds(prompt), outputs), self._scale)
        self._cache.put(key, inputs, inputs.num_bytes)
        return inputs

    def _media_args(self, prompt: Prompt, frames: Shown | None) -> dict[str, Any]:
        """Arguments of the model's processor for clips and images, which are not resized or sampled again."""
        kinds = frames_by_kind(prompt, frames)
        arguments: dict[str, Any] = {}
        if self._scale is not None:
            arguments |= {"do_rescale": False, "do_normalize": False}
        if images := kinds["image"]:
            arguments |= {"images": [PIL.Image.fromarray(image.pixels[0]) for image in images], "do_resize": False}
        if clips := kinds["video"]:
            arguments |= {
                "videos": [clip.pixels for clip in clips],
                "video_metadata": [VideoMetadata(**self._metadata(clip)) for clip in clips],
                "do_sample_frames": False,
                **self.engine_options()["mm_processor_kwargs"],
            }
        return arguments

    def engine_media(self, prompt: Prompt, frames: Shown | None) -> dict[Kind, list[Frames]]:
        """ "video" and "image" -> what vLLM gets of them: the prompt's clips and images, of a stream its stretches.

        vLLM names an item by one key in all blocks of its prefix cache, so that a clip in one item would share nothing
        with the same clip up to a later time.
        """
        kinds = frames_by_kind(prompt, frames)
        if self._clip_first and isinstance(prompt.media, Video):
            kinds["video"] = [part for clip in kinds["video"] for part in clip.stretches(STRETCH_FRAMES)]
        return kinds

    def engine_input(self, prompt: Prompt, media: Mapping[Kind, Sequence[Frames]]) -> dict[str, Any]:
        """Input of vLLM's `LLM.generate` for the prompt. `media`: of `engine_media`."""
        text = self.text(prompt)
        if isinstance(prompt.media, Video):
            text = text.replace(self._video_token, self._video_token * len(media["video"]))
        data: dict[str, Any] = {}
        if media["image"]:
            data["image"] = [PIL.Image.fromarray(image.pixels[0]) for image in media["image"]]
        if media["video"]:
            no_sampling = {"do_sample_frames": False}
            data["video"] = [(clip.pixels, self._metadata(clip) | no_sampling) for clip in media["video"]]
        return {"prompt": text} | ({"multi_modal_data": data} if data else {})

    def engine_options(self) -> dict[str, Any]:
        """Arguments of vLLM's `LLM` that keep it from resizing frames, which have their final size."""
        return {"mm_processor_kwargs": {"do_resize": False, "cap_pixels_per_frame": False}}

    def seconds_per_grid(self, frames: Frames) -> float:
        """Seconds between frame pairs, as in `encode`."""
        frames_per_grid: int = self._processor.video_processor.temporal_patch_size
        return frames_per_grid / float(VideoMetadata(**self._metadata(frames)).sampled_fps)

    def completion_ids(self, text: str) -> tuple[int, ...]:
        """Token ids of a completion, with the end token."""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return (*ids, self.eos_token_id)

    def token_bytes(self, token_ids: Sequence[int]) -> list[int]:
        """Length of each token's text in UTF-8, 0 for special tokens; of a vocabulary with a letter for each byte."""
        tokens = self.tokenizer.convert_ids_to_tokens(list(token_ids))
        return [0 if token in self._unwritten else len(token) for token in tokens]

    def save(self, directory: Path) -> None:
        self._processor.save_pretrained(directory)

    def _metadata(self, frames: Frames) -> dict[str, Any]:
        """Arguments of transformers' VideoMetadata."""
        metadata = {"total_num_frames": frames.num_source_frames, "duration": frames.duration_s, "video_backend": "rft"}
        if self._writes_times:
            # The processor writes index / rate. With a rate of 1 and times for indices it writes the true times, which
            # count from the clip's start and are right at a variable rate.
            return metadata | {"fps": 1.0, "frames_indices": list(frames.timestamps_s)}
        return metadata | {"fps": frames.source_fps * FPS_NUDGE, "frames_indices": list(frames.frame_indices)}


def frames_by_kind(prompt: Prompt, frames: Shown | None) -> dict[Kind, list[Frames]]:
    """ "video" and "image" -> the frames of the prompt's clips or images, in order."""
    kinds: dict[Kind, list[Frames]] = {"video": [], "image": []}
    for kind, one in zip(_kinds(prompt), frames_of(frames), strict=False):
        kinds[kind].append(one)
    return kinds


def _kinds(prompt: Prompt) -> list[Kind]:
    """Of each clip and image, in order."""
    media = prompt.media
    parts = media.parts if isinstance(media, Several) else (media,) if media else ()
    return ["image" if isinstance(part, Image) else "video" for part in parts]


def _in_order(kinds: Sequence[Kind], outputs: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Patches, grid and seconds of the clips and images in order; the model's processor gives those of a kind."""
    names: dict[Kind, str] = {"video": "pixel_values_videos", "image": "pixel_values"}
    grids = {kind: list(outputs[f"{kind}_grid_thw"]) for kind in set(kinds)}
    patches = {
        kind: list(outputs[names[kind]].split([int(grid.prod()) for grid in grids[kind]])) for kind in set(kinds)
    }
    stated = outputs.get("second_per_grid_ts")
    seconds = [] if stated is None else torch.as_tensor(stated, dtype=torch.float32).tolist()
    return (
        joined([patches[kind].pop(0) for kind in kinds]),
        torch.stack([grids[kind].pop(0) for kind in kinds]),
        torch.tensor([seconds.pop(0) if kind == "video" else 0.0 for kind in kinds]) if seconds else None,
    )


def _load(model: str) -> Any:
    try:
        processor = AutoProcessor.from_pretrained(model)
    except (OSError, ValueError, ImportError) as error:
        raise DataError(f"model {model}: its processor cannot be loaded: {str(error).splitlines()[0]}") from error
    parts = ("tokenizer", "video_processor", "image_processor", "video_token", "image_token", "chat_template")
    missing = [part for part in parts if getattr(processor, part, None) is None]
    if missing:
        raise DataError(
            f"model {model}: no {', '.join(missing)}. Copy the processor, tokenizer and chat template files of the "
            "original model into the folder."
        )
    if processor.tokenizer.eos_token_id is None:
        raise DataError(f"model {model}: its tokenizer has no end token")
    return processor
