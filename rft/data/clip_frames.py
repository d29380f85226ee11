"""Some frames of a prompt's clip, for rewards that show them to a judge."""

import io
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image as Picture

from rft.data.frames import frames_of
from rft.data.video import ClipCache
from rft.types import Media, Video

JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True)
class ClipFrames:
    """Called with a number, at least 1: so many frames of the clip as JPEG files, evenly spaced, in order.

    Of several clips over all their frames. All of them if there are fewer; () for a prompt without a clip. They are the
    frames that the policy gets, in their true order, out of the run's cache. Raises ClipError.
    """

    media: Media | None
    clips: ClipCache

    def __call__(self, number: int) -> tuple[bytes, ...]:
        media = replace(self.media, shuffle_seed=None) if isinstance(self.media, Video) else self.media
        pixels = [frame for frames in frames_of(self.clips.load(media)) for frame in frames.pixels]
        return tuple(_jpeg(pixels[i]) for i in evenly(len(pixels), number))


def evenly(length: int, number: int) -> list[int]:
    """`number` places out of 0..length - 1, each in the middle of its share: of 8 places 2 are [2, 6]."""
    number = min(number, length)
    return [(2 * i + 1) * length // (2 * number) for i in range(number)]


def _jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Picture.fromarray(pixels).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()
