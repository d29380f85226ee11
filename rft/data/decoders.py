"""Readers of videos, images and folders of frames. Every failure is a ClipError that names the file and the cause."""

import contextlib
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import av
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from rft.data.frames import ClipError, ReaderName
from rft.data.shards import find_member, media_exists, open_member
from rft.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
LIST_SUFFIX = ".txt"
"""Of a list of frames: the path of one image a line, from the list's folder."""

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP")
"""Formats of single images, by Pillow's names."""

REWRITE = "Rewrite it with ffmpeg -i IN OUT.mp4, or drop its rows."

INDEXED = ("mov,mp4", "matroska")
"""Containers whose index leads to a key frame exactly, by FFmpeg's names."""

THREADS_FROM_PIXELS = 320 * 240
"""Pixels of a frame from which on decoder threads save more time than they cost."""


@dataclass(frozen=True, slots=True)
class FrameSource:
    """A video file, image file, folder or list of frames; the times are read without decoding."""

    timestamps_s: tuple[float, ...]
    """[frames], in display order, the first at 0."""
    average_fps: float
    """Frame rate that the file states; 0: it states none."""
    read: Callable[[Sequence[int]], Iterator[np.ndarray]]
    """Pixels, uint8 [H, W, 3], of each of the given indices, which increase strictly."""


def open_source(path: Path, source_fps: float | None, reader: ReaderName) -> FrameSource:
    """The frames of `path`: a video file, a folder or list of images with its `source_fps`; with pillow, an image."""
    if path.is_dir() and reader != "pillow":
        return _of_images(path, image_files(path), source_fps)
    if not media_exists(path):
        raise ClipError(f"{path}: {'image' if reader == 'pillow' else 'video'} not found")
    member = find_member(path)
    if member is None and not path.is_file():
        raise ClipError(f"{path}: {'not a file' if reader == 'pillow' else 'neither a file nor a folder'}")
    if (path.stat().st_size if member is None else member.size) == 0:
        raise ClipError(f"{path}: empty file")
    if reader == "pillow":
        return FrameSource((0.0,), 0.0, partial(_read_image, path))
    if path.suffix == LIST_SUFFIX and member is None:
        return _of_images(path, listed_images(path), source_fps)
    video = VideoFile(path)
    read = partial(_read_torchcodec, path, len(video.timestamps_s)) if reader == "torchcodec" else video.read
    return FrameSource(video.timestamps_s, video.average_fps, read)


class _Packet(NamedTuple):
    pts: int
    """Presentation time, in units of the stream's time base."""
    dts: int
    """Time of decoding, by which an index leads to key frames."""
    is_key: bool
    is_shown: bool
    """False: the container cuts the frame away, but other frames may need it."""


class VideoFile:
    """A video file read with PyAV: the times without decoding, then only the packets that the chosen frames need.

    In a container whose index is exact, those in between are not even read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._packets: list[_Packet] = []
        """In decode order."""
        with _opened(path) as (container, stream):
            for packet in container.demux(stream):
                if packet.size == 0:
                    continue
                if packet.pts is None:
                    raise ClipError(f"{path}: frames without times. {REWRITE}")
                dts = packet.pts if packet.dts is None else packet.dts
                self._packets.append(_Packet(packet.pts, dts, packet.is_keyframe, not packet.is_discard))
            self._check_length(container, stream)
            numbers = {packet.pts: number for number, packet in enumerate(self._packets)}
            is_indexed = container.format.name.startswith(INDEXED) and len(numbers) == len(self._packets)
            self.average_fps = float(stream.average_rate or stream.guessed_rate or 0)
            time_base = stream.time_base
        self._numbers = numbers if is_indexed else {}
        """pts -> place in `_packets`; {}: packets are read one after the other."""
        self.display_times = sorted({packet.pts for packet in self._packets if packet.is_shown})
        if not self.display_times:
            raise ClipError(f"{path}: the video holds no frames")
        first = self.display_times[0]
        self.timestamps_s = tuple(float((pts - first) * time_base) for pts in self.display_times)

    def read(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        display_times = self.display_times
        remaining = iter(indices)
        index = next(remaining)
        last = None
        for frame in self._decode({display_times[i] for i in indices}):
            if last is not None and frame.pts <= last:
                raise ClipError(f"{self.path}: frame times out of order. {REWRITE}")
            last = frame.pts
            if frame.is_corrupt:  # frames that depend on it are damaged too, without the mark
                break
            if last != display_times[index]:
                continue
            yield np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
            next_index = next(remaining, None)
            if next_index is None:
                return
            index = next_index
        raise ClipError(f"{self.path}: damaged, frame {index} of {len(display_times)} cannot be decoded")

    def _check_length(self, container: Any, stream: Any) -> None:
        """Compares with the length that the file states: a truncated file still opens if its index comes first."""
        if "mp4" in container.format.name and len(self._packets) < stream.frames:
            raise ClipError(f"{self.path}: truncated, holds {len(self._packets)} of {stream.frames} frames")
        stated = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))
        if stated and self._packets:
            hours, minutes, seconds = (float(part) for part in stated.groups())
            stated_s, held_s = hours * 3600 + minutes * 60 + seconds, float(max(self._packets).pts * stream.time_base)
            if held_s < stated_s - 1:
                raise ClipError(f"{self.path}: truncated, holds {held_s:.1f} of {stated_s:.1f} s")

    def needed(self, chosen: set[int]) -> list[bool]:
        """Per packet: whether it must be decoded for the frames with the presentation times `chosen`.

        Packets are decoded from a key frame on, up to the last chosen one before a segment that holds none. A frame
        that is stored after a key frame but displayed before it depends on the segment before as well.
        """
        packets = self._packets
        bounds = [0, *(i for i, packet in enumerate(packets) if packet.is_key and i > 0), len(packets)]
        needed = [False] * len(packets)
        before = 0
        for first, end in itertools.pairwise(bounds):
            hits = [packet.pts for packet in packets[first:end] if packet.pts in chosen]
            if hits:
                start = before if min(hits) < packets[first].pts else first
                needed[start:end] = [True] * (end - start)
            before = first
        is_behind = True
        for place in reversed(range(len(packets))):
            is_behind = (is_behind or not needed[place]) and packets[place].pts not in chosen
            needed[place] = needed[place] and not is_behind
        return needed

    def _decode(self, chosen: set[int]) -> Iterator[Any]:
        """Decoded frames in time order: those with the presentation times `chosen`, and others."""
        places = [place for place, is_needed in enumerate(self.needed(chosen)) if is_needed]
        with _opened(self.path) as (container, stream):
            codec = stream.codec_context
            codec.thread_type = "AUTO" if codec.width * codec.height >= THREADS_FROM_PIXELS else "NONE"
            for packets in self._stretches(container, stream, places):
                start: int | None = None
                for packet in packets:
                    start = packet.pts if start is None else start
                    # Frames before the first key frame of a stretch cannot be decoded right; none of them is chosen.
                    yield from (frame for frame in codec.decode(packet) if frame.pts >= start)
                if start is not None:
                    yield from (frame for frame in codec.decode(None) if frame.pts >= start)
                    codec.flush_buffers()

    def _stretches(self, container: Any, stream: Any, places: Sequence[int]) -> Iterator[Iterator[Any]]:
        """The packets at `places`, in runs without gaps; each run is used up before the next is asked for."""
        packets, at = _packets(container, stream), 0
        with contextlib.ExitStack() as closing:
            for start, stop in _runs(places):
                if self._numbers and start > at:
                    container.seek(self._packets[start].dts, stream=stream)
                    packets = _packets(container, stream)
                    first = next(packets, None)
                    at = self._numbers.get(first.pts, stop) if first is not None else stop
                    packets = itertools.chain([first], packets)
                    if at > start:  # the index leads elsewhere
                        packets, at = _packets(*closing.enter_context(_opened(self.path))), 0
                yield itertools.islice(packets, start - at, stop - at)
                at = stop


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    return (packet for packet in container.demux(stream) if packet.size)


def _runs(places: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(first, behind the last) of each run of consecutive places: 3 4 5 9 -> (3, 6), (9, 10)."""
    for _, run in itertools.groupby(enumerate(places), lambda pair: pair[1] - pair[0]):
        own = [place for _, place in run]
        yield own[0], own[-1] + 1


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """Container and video stream of a file; an error of FFmpeg inside becomes a ClipError."""
    with contextlib.ExitStack() as closing:
        try:
            container = closing.enter_context(av.open(_readable(path, closing)))
        except (av.error.FFmpegError, OSError) as error:
            raise ClipError(f"{path}: not a readable video: {_cause(error)}") from error
        if not container.streams.video:
            raise ClipError(f"{path}: holds no video stream")
        try:
            yield container, container.streams.video[0]
        except av.error.FFmpegError as error:
            raise ClipError(f"{path}: damaged: {_cause(error)}") from error


def _readable(path: Path, closing: contextlib.ExitStack) -> str | BinaryIO:
    """What decoders open: the name of a file, or a member of a shard as a file, which `closing` closes."""
    member = find_member(path)
    return str(path) if member is None else closing.enter_context(open_member(member))


def _cause(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _read_torchcodec(path: Path, num_frames: int, indices: Sequence[int]) -> Iterator[np.ndarray]:
    """Pixels by torchcodec. `num_frames`: those of the file's packets, whose times come from PyAV."""
    video_decoder = load_torchcodec()
    try:
        with contextlib.ExitStack() as closing:
            decoder = video_decoder(_readable(path, closing), dimension_order="NHWC", num_ffmpeg_threads=1)
            if len(decoder) != num_frames:
                raise ClipError(
                    f"{path}: torchcodec counts {len(decoder)} frames, the file's packets {num_frames}; "
                    "use video.decoder=pyav"
                )
            for index in indices:
                yield decoder.get_frame_at(index).data.numpy()
    except (RuntimeError, ValueError, IndexError) as error:
        raise ClipError(f"{path}: damaged: {str(error).splitlines()[0]}") from error


def load_torchcodec() -> Any:
    """torchcodec's VideoDecoder class. Raises DataError if it cannot be loaded."""
    try:
        from torchcodec.decoders import VideoDecoder

        try:
            VideoDecoder(b"")
        except (RuntimeError, ValueError) as error:
            # The module loads its libraries at first use; with them, empty bytes are only an invalid video.
            if "libtorchcodec" in str(error):
                raise ImportError(str(error)) from error
    except (ImportError, RuntimeError, OSError) as error:
        raise DataError(
            f"video.decoder: torchcodec cannot be loaded ({str(error).partition('. ')[0]}). "
            "Install it with FFmpeg's shared libraries, or set video.decoder=pyav."
        ) from error
    return VideoDecoder


def _of_images(path: Path, files: Sequence[Path], source_fps: float | None) -> FrameSource:
    """The frames of a folder or list of images, one per frame."""
    if source_fps is None:
        raise ClipError(f"{path}: a folder or list of frames needs source_fps in its row")
    if not files:
        raise ClipError(f"{path}: folder without {', '.join(IMAGE_SUFFIXES)} files")
    return FrameSource(tuple(i / source_fps for i in range(len(files))), source_fps, partial(_read_images, files))


def _read_images(files: Sequence[Path], indices: Sequence[int]) -> Iterator[np.ndarray]:
    shape = None
    for file in (files[index] for index in indices):
        try:
            with Image.open(file) as image:
                frame = np.array(image.convert("RGB"))  # a copy: torch warns of arrays it may not write to
        except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
            raise ClipError(f"{file}: damaged image: {error}") from error
        if shape is not None and frame.shape != shape:
            raise ClipError(f"{file}: {frame.shape[1]}x{frame.shape[0]}, frames before it {shape[1]}x{shape[0]}")
        shape = frame.shape
        yield frame


def _read_image(path: Path, indices: Sequence[int]) -> Iterator[np.ndarray]:
    """One image for every index, rotated by its EXIF tags, on white if it is transparent."""
    try:
        with contextlib.ExitStack() as closing:
            image = closing.enter_context(Image.open(_readable(path, closing), formats=IMAGE_FORMATS))
            if image.mode.startswith(("I", "F")):
                raise ClipError(f"{path}: more than 8 bits per channel. Save it with 8.")
            turned = ImageOps.exif_transpose(image)
            if turned.has_transparency_data:
                layer = turned.convert("RGBA")
                turned = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
            picture = np.array(turned.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        kinds = ", ".join(IMAGE_FORMATS)
        raise ClipError(f"{path}: not a readable image ({kinds}): {error}") from error
    for _ in indices:
        yield picture


def image_files(folder: Path) -> list[Path]:
    """The images of a folder, in name order; numbers in names are compared by value."""

    def key(path: Path) -> list[tuple[int, str]]:
        return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]

    return sorted((file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES), key=key)


def listed_images(path: Path) -> list[Path]:
    """The images that a list names, in its order. Raises ClipError where it is no text."""
    try:
        return [path.parent / line for line in path.read_text("utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise ClipError(f"{path}: a list of frames has the path of one image a line, in UTF-8: {error}") from error
