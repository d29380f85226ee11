"""How clips are sampled, decoded and cached, for the recipe."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from rft.recipe.section import Section
from rft.types import FramePick, VideoSampling

PATCH_PIXELS = 28 * 28
"""Pixels of one visual token of Qwen2.5-VL, in one frame of a frame pair."""


class AgainRecipe(Section):
    fps: float | None = Field(None, gt=0)
    """As in `video`; null: the same."""
    min_frames: int | None = Field(None, ge=2)
    """As in `video`; null: the same."""
    max_frames: int | None = Field(None, ge=2)
    """As in `video`; null: the same."""
    min_pixels: int | None = Field(None, gt=0)
    """As in `video`; null: the same."""
    max_pixels: int | None = Field(None, gt=0)
    """As in `video`; null: the same."""
    total_pixels: int | None = Field(None, gt=0)
    """As in `video`; null: the same."""


class VideoRecipe(Section):
    fps: float = Field(2.0, gt=0)
    """Frames sampled per second of video."""
    min_frames: int = Field(4, ge=2)
    """Least frames of a clip, if its length times fps is less."""
    max_frames: int = Field(768, ge=2)
    """Most frames of a clip, if its length times fps is more."""
    min_pixels: int = Field(16 * PATCH_PIXELS, gt=0)
    """Least pixels of a frame or image."""
    max_pixels: int = Field(768 * PATCH_PIXELS, gt=0)
    """Most pixels of a frame or image."""
    total_pixels: int = Field(3584 * PATCH_PIXELS, gt=0)
    """Pixel budget of a clip, divided over its frame pairs."""
    drop_still: float = Field(0.0, ge=0, le=255)
    """Leaves out a sampled frame whose mean difference in grey from the last one shown is below this, of 255; 0: none.
    The others keep their size."""
    stream: bool = False
    """Questions along a clip share it: frames every 1/fps s from its start up to the row's end_s, an odd last one left
    out, twice as far apart until they are at most max_frames, and of one size; the clip stands before the prompt's
    text; rows of a clip follow each other; the learner computes their clip once (docs/learner.md), the engine each
    stretch of it (docs/rollout.md)."""
    stated_fps: float | None = Field(None, gt=0)
    """Frames per second that the model is told; null: the true ones, which Qwen3-VL is told in any case."""
    again: AgainRecipe | None = None
    """A row's clip is shown again behind itself, sampled by these keys in place of those of `video`, such as more
    frames of fewer pixels; null: once. Rows with `media` show what they name."""
    decoder: Literal["pyav", "torchcodec"] = "pyav"
    """Library that reads video files; torchcodec needs FFmpeg on the system."""
    decode_ahead: int | None = Field(None, ge=0)
    """Clips of the next step that are decoded at the same time during this one; 0: clips are decoded when needed.
    Default: a quarter of the cores, at least 2 and at most 16."""
    decode_timeout_s: float = Field(60.0, gt=0)
    """Longest time to decode a clip; a clip that takes longer counts as damaged."""
    cache_dir: Path | None = None
    """Folder of decoded clips; default: `clips` in the run folder."""
    cache_gib: float = Field(20.0, gt=0)
    """Size at which the least recently used clips are removed; features of a frozen tower may take as much again."""

    def samplings(self) -> tuple[VideoSampling, ...]:
        """The rules of a clip that is shown alone, in the order of its showings."""
        if self.again is None:
            return (self.sampling(),)
        return self.sampling(), replace(self.sampling(), **self.again.model_dump(exclude_none=True))

    def sampling(self) -> VideoSampling:
        sizes = (self.fps, self.min_frames, self.max_frames, self.min_pixels, self.max_pixels, self.total_pixels)
        pick: FramePick = "stream" if self.stream else "even"
        return VideoSampling(*sizes, pick=pick, drop_still=self.drop_still, stated_fps=self.stated_fps)
