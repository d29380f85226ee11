"""Most tokens a prompt can have, from the recipe and the rows, without opening a video."""

from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

from rft.types import FRAMES_PER_GRID, VideoSampling

TIME_TOKENS = 12
"""Most tokens of a frame pair's time, where a model gets it in words: "<1234.5 seconds>" and markers."""
TEMPLATE_TOKENS = 64
"""Role markers, default system message and vision markers around the text of a prompt."""


@lru_cache(maxsize=4096)
def visual_tokens(sampling: VideoSampling, clip_s: float | None, factor: int = 28, *, tells_times: bool = False) -> int:
    """Most visual tokens of a clip of that many seconds, times in words included; None: of any clip.

    `factor`: of the model, see rft.recipe.model_folder.size_factor. Holds for frames of at least min_pixels:
    smaller ones are enlarged to whole patches.
    """
    extra = TIME_TOKENS if tells_times else 0
    if sampling.num_frames is not None:
        return _grid_tokens(sampling, sampling.num_frames + sampling.num_frames % FRAMES_PER_GRID, factor, extra)
    most = _even(sampling.max_frames)
    least = min(most, -(-sampling.min_frames // FRAMES_PER_GRID) * FRAMES_PER_GRID)
    if clip_s is None:
        counts = range(least, most + 1, FRAMES_PER_GRID)
    else:
        # Seconds are rounded, so the count may differ from theirs; fewer frames can be larger and have more tokens.
        count = _even(int(clip_s * sampling.fps))
        low, high = (min(most, max(least, count + offset)) for offset in (-FRAMES_PER_GRID, FRAMES_PER_GRID))
        counts = range(low, high + 1, FRAMES_PER_GRID)
    return max(_grid_tokens(sampling, frames, factor, extra) for frames in counts)


def image_tokens(max_pixels: int, factor: int = 28) -> int:
    """Most visual tokens of an image."""
    return max(1, max_pixels // factor**2)


def text_tokens(texts: Collection[str], model: str) -> int:
    """Tokens of the longest text: by the model folder's tokenizer, or one per UTF-8 byte where it has none."""
    path = Path(model).expanduser() / "tokenizer.json"
    if not path.is_file():
        return text_bytes(texts)
    from tokenizers import Tokenizer

    encodings = Tokenizer.from_file(str(path)).encode_batch_fast(list(texts), add_special_tokens=False)
    return max((len(encoding) for encoding in encodings), default=0)


def text_bytes(texts: Collection[str]) -> int:
    """UTF-8 bytes of the longest text: no byte-level tokenizer makes more tokens of it."""
    return max((len(text.encode()) for text in texts), default=0)


def _grid_tokens(sampling: VideoSampling, frames: int, factor: int, extra: int) -> int:
    tokens = int(sampling.frame_pixels(frames, factor) // factor**2)
    return frames // FRAMES_PER_GRID * (max(1, tokens) + extra)


def _even(frames: int) -> int:
    return max(FRAMES_PER_GRID, frames // FRAMES_PER_GRID * FRAMES_PER_GRID)
