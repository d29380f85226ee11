"""Frames of a clip, and their file format."""

import errno
import hashlib
import json
import random
import stat
import struct
import zlib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rft.errors import DataError
from rft.types import View

DecoderName = Literal["pyav", "torchcodec"]
START = struct.Struct("<QI")
"""How a file of frames begins: the length of its header, and the CRC-32 of header and pixels."""

ReaderName = DecoderName | Literal["pillow"]
"""Pillow reads images."""


class ClipError(DataError):
    """Error of one clip or image that cannot be used: its row is left out of the run and counted."""


class StorageError(ClipError):
    """A file that cannot be read now, though it may be later: its storage does not answer."""


def path_problem(path: Path) -> str | None:
    """Why `path` must not be opened; None: a file, a folder, or nothing is there.

    Opening a FIFO waits for a writer, and a device such as /dev/zero has no end.
    """
    try:
        mode = path.stat().st_mode
    except ValueError as error:
        return f"no file can have this name: {error}"
    except OSError as error:
        return error.strerror if error.errno == errno.ENAMETOOLONG else None
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else "neither a file nor a folder"


TIME_TOLERANCE_S = 1e-3
"""Matroska rounds times to milliseconds."""

GREY = 128
"""Value of every channel of a blank frame."""


@dataclass(frozen=True, slots=True)
class Frames:
    """The chosen frames of a clip at their final size, with real timing; or an image, as one frame at 0 s."""

    pixels: np.ndarray
    """uint8 [F, H, W, 3], RGB."""
    timestamps_s: tuple[float, ...]
    """[F], seconds from the start of the clip, as in the file."""
    frame_indices: tuple[int, ...]
    """[F], index of each frame in the whole file, from 0."""
    source_fps: float
    """Frames per second of the clip, as the model gets it."""
    num_source_frames: int
    """Frames of the clip, chosen or not."""
    duration_s: float
    key: str
    """Hash of content and sampling: equal keys mean equal frames."""

    def shuffled(self, seed: int) -> "Frames":
        """Frames with the pixels shuffled by `seed`; times and indices stay in order."""
        order = list(range(len(self.pixels)))
        random.Random(seed).shuffle(order)
        return replace(self, pixels=self.pixels[order], key=f"{self.key}-shuffled-{seed}")

    def seen(self, view: View) -> "Frames":
        """Frames with the pixels of a view; times and indices stay in order."""
        pixels = {
            "blank": lambda: np.full_like(self.pixels, GREY),
            "reversed": lambda: self.pixels[::-1],
            "mirrored": lambda: self.pixels[:, :, ::-1],
        }[view]()
        return replace(self, pixels=np.ascontiguousarray(pixels), key=f"{self.key}-{view}")

    def stretches(self, num_frames: int) -> tuple["Frames", ...]:
        """The frames in parts of `num_frames`, the last one shorter where they do not divide.

        A part's key names its own pixels, times and rate, so clips that begin alike have the first parts in common.
        """
        rate = self.source_fps * len(self.pixels) / self.num_source_frames
        parts = []
        for start in range(0, len(self.pixels), num_frames):
            place = slice(start, start + num_frames)
            pixels, times_s = np.ascontiguousarray(self.pixels[place]), self.timestamps_s[place]
            digest = hashlib.blake2b(pixels.data, digest_size=16)
            digest.update(f"{pixels.shape} {times_s} {rate:.6g}".encode())
            facts = (times_s, self.frame_indices[place], rate, len(pixels), len(pixels) / rate, digest.hexdigest())
            parts.append(Frames(pixels, *facts))
        return tuple(parts)


@dataclass(frozen=True, slots=True)
class FramesOfSeveral:
    """The frames of each of several clips and images, in order."""

    parts: tuple[Frames, ...]

    @property
    def key(self) -> str:
        """Names content and sampling of them all."""
        return "+".join(part.key for part in self.parts)


Shown = Frames | FramesOfSeveral


def frames_of(shown: Shown | None) -> tuple[Frames, ...]:
    """Those of each clip and image; () for None."""
    return () if shown is None else shown.parts if isinstance(shown, FramesOfSeveral) else (shown,)


def first_to_last(length: int, most: int) -> list[int]:
    """At most `most` of `length` places, evenly from the first to the last; `most` is at least 2."""
    return sorted({round(i * (length - 1) / (most - 1)) for i in range(most)})


def write_frames(frames: Frames, path: Path) -> None:
    """Write `frames` to the file `path`."""
    pixels = np.ascontiguousarray(frames.pixels)
    facts = {field.name: getattr(frames, field.name) for field in fields(frames) if field.name != "pixels"}
    header = json.dumps({"shape": pixels.shape, **facts}).encode()
    with path.open("wb") as file:
        file.write(START.pack(len(header), zlib.crc32(pixels.data, zlib.crc32(header))))
        file.write(header)
        file.write(pixels.data)


def read_frames(path: Path) -> Frames:
    """Frames from a file of `write_frames`, with memory-mapped pixels. Raises ValueError if it is damaged."""
    # Copy-on-write: torch warns of arrays it may not write to.
    content = np.asarray(np.memmap(path, dtype=np.uint8, mode="c"))
    if len(content) < START.size:
        raise ValueError(f"{path} holds no frames")
    length, checksum = START.unpack_from(content.data)
    if zlib.crc32(content[START.size :].data) != checksum:
        raise ValueError(f"{path} is damaged")
    facts: dict[str, Any] = json.loads(content[START.size : START.size + length].tobytes())
    facts |= {name: tuple(fact) for name, fact in facts.items() if isinstance(fact, list)}
    pixels = content[START.size + length :].reshape(facts.pop("shape"))
    return Frames(pixels, **facts)
