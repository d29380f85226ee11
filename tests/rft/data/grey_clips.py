"""Clips of plain grey frames, for tests."""

from collections.abc import Callable
from pathlib import Path

from rft.types import Video, VideoSampling

SAMPLING = VideoSampling(2.0, 4, 64, 56 * 56, 56 * 56, 64 * 56 * 56)

WriteClip = Callable[..., Path]


def shade(number: int) -> int:
    """The grey of frame `number`: tells frames apart after lossy coding."""
    return 8 + 12 * (number % 20)


def video(path: Path, **changes: object) -> Video:
    return Video(path, **{"sampling": SAMPLING, **changes})  # type: ignore[arg-type]
