"""The only decoder, Video or Image -> Frames, and the cache that rollout, learner and evaluation share."""

import contextlib
import errno
import fcntl
import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import overload

import numpy as np

from rft.data import decode_process
from rft.data.cache import FolderCache
from rft.data.child_process import ChildProcesses
from rft.data.decoders import LIST_SUFFIX, FrameSource, listed_images, open_source
from rft.data.frames import (
    TIME_TOLERANCE_S,
    ClipError,
    DecoderName,
    Frames,
    FramesOfSeveral,
    ReaderName,
    Shown,
    StorageError,
    frames_of,
    path_problem,
    read_frames,
    write_frames,
)
from rft.data.shards import find_member, open_member
from rft.errors import DataError
from rft.recipe import Recipe
from rft.recipe.model_folder import size_factor
from rft.types import Image, Media, Medium, Several, Video

__all__ = ["ClipCache", "ClipError", "ClipPrefetch", "Frames", "clip_key", "decode"]

FORMAT = 3
"""Version of the keys: increase it when decoding, sampling or the file of frames changes."""

WHOLE_HASH_BYTES = 8 << 20
"""Size up to which a file is hashed whole; of a larger one a sample is hashed, with its time of change."""

HASHED_BLOCKS = 16

STORAGE_ERRORS = (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH)
"""What a network file system says while its server cannot be reached."""


def decode(media: Medium, decoder: DecoderName = "pyav", factor: int = 28) -> Frames:
    """Frames of `media`, with sides that are multiples of `factor`, decoded in this process. Raises ClipError."""
    key = clip_key(media, decoder, factor)
    return _as_shown(_clip_frames(media, open_source(media.path, *_reader_args(media, decoder)), factor, key), media)


def _reader_args(media: Medium, decoder: DecoderName) -> tuple[float | None, ReaderName]:
    """(source_fps, reader) for `open_source`."""
    return (media.source_fps, decoder) if isinstance(media, Video) else (None, "pillow")


def _as_shown(frames: Frames, media: Medium) -> Frames:
    """The decoded frames in the order and the view that the media ask for."""
    if not isinstance(media, Video):
        return frames
    frames = frames if media.shuffle_seed is None else frames.shuffled(media.shuffle_seed)
    return frames if media.view is None else frames.seen(media.view)


def _clip_frames(media: Medium, source: FrameSource, factor: int, key: str) -> Frames:
    try:
        if isinstance(media, Video):
            return _video_frames(media, source, factor, key)
        return _image_frames(media, source, factor, key)
    except ValueError as error:
        raise ClipError(f"{media.path}: {error}") from error


def _image_frames(image: Image, source: FrameSource, factor: int, key: str) -> Frames:
    from rft.data.sampling import frame_size, resize

    (picture,) = source.read([0])
    pixels = resize(picture, frame_size(picture.shape[0], picture.shape[1], 1, image, factor))
    return Frames(pixels[None], (0.0,), (0,), source_fps=0.0, num_source_frames=1, duration_s=0.0, key=key)


def _video_frames(video: Video, source: FrameSource, factor: int, key: str) -> Frames:
    # Imported here because it loads torch, which is not needed to read rows.
    from rft.data.sampling import frame_size, paired, resize, resize_to_patches, small_grey

    inside, times_s, fps = _clip_times(video, source)
    is_published = video.sampling.pick == "published_tracking"
    chosen = [inside[i] for i in _chosen(video, times_s, fps)]
    stated = _stated_fps(video, times_s, fps, len(chosen))
    distinct = sorted(set(chosen))
    pixels: dict[int, np.ndarray] = {}
    size = shown = None
    for index, read in zip(distinct, source.read(distinct), strict=True):
        if video.sampling.drop_still and video.sampling.num_frames is None:
            grey = small_grey(read)
            if shown is not None and np.abs(grey - shown).mean() < video.sampling.drop_still:
                continue
            shown = grey
        frame = resize_to_patches(read, video.sampling.min_pixels, factor) if is_published else read
        size = size or frame_size(frame.shape[0], frame.shape[1], len(chosen), video.sampling, factor)
        pixels[index] = resize(frame, size)
    if len(pixels) < len(distinct):
        chosen = paired([i for i in chosen if i in pixels])
    return Frames(
        pixels=np.stack([pixels[i] for i in chosen]),
        timestamps_s=tuple(source.timestamps_s[i] - (video.start_s or 0.0) for i in chosen),
        frame_indices=tuple(chosen),
        source_fps=stated,
        num_source_frames=len(inside),
        duration_s=len(inside) / fps,
        key=key,
    )


def _stated_fps(video: Video, times_s: Sequence[float], fps: float, num_chosen: int) -> float:
    """Frames per second of the clip as the model gets it, which makes of it the rate of its `num_chosen` frames."""
    from rft.data.sampling import PUBLISHED_TRACKING_FPS, stream_fps

    sampling, pick = video.sampling, video.sampling.pick
    rate = sampling.stated_fps
    if pick in ("published_tracking", "stream"):
        rate = PUBLISHED_TRACKING_FPS if pick == "published_tracking" else stream_fps(times_s, fps, sampling)
    return rate * len(times_s) / num_chosen if rate else fps


def _chosen(video: Video, times_s: Sequence[float], fps: float) -> list[int]:
    """Indices into `times_s` of the frames that the sampling asks for, before still ones are left out."""
    from rft.data.sampling import choose_frames, nearest_frames

    if video.sampling.times_s:
        return nearest_frames(times_s, [(video.start_s or 0.0) + time_s for time_s in video.sampling.times_s])
    return choose_frames(times_s, fps, video.sampling)


def _clip_times(video: Video, source: FrameSource) -> tuple[list[int], list[float], float]:
    """(frame indices within the clip's limits and windows, their times in seconds, frames per second)."""
    times = source.timestamps_s
    start_s = video.start_s or 0.0
    end_s = times[-1] if video.end_s is None else video.end_s
    inside = _between(range(len(times)), times, start_s, end_s)
    if len(inside) < 2:
        cut = "" if video.start_s is None and video.end_s is None else f" between {start_s:g} and {end_s:g} s"
        raise ClipError(f"{video.path}: {len(inside)} frame(s){cut} of {times[-1]:g} s, at least 2 are needed")
    times_s = [times[i] for i in inside]
    # The stated rate if the frame times agree with it, else the rate measured from the times.
    measured = (len(times_s) - 1) / (times_s[-1] - times_s[0])
    fps = source.average_fps if abs(source.average_fps - measured) <= 0.005 * measured else measured
    if not video.windows:
        return inside, times_s, fps
    windows = [_between(inside, times, start_s + start, start_s + end) for start, end in video.windows]
    inside = sorted({i for window in windows for i in window})
    if len(inside) < 2:
        raise ClipError(f"{video.path}: {len(inside)} frame(s) in the windows {video.windows}, at least 2 are needed")
    # Times as if the frames between the windows had been cut out of the file.
    return inside, [number / fps for number in range(len(inside))], fps


def _between(indices: Iterable[int], times: Sequence[float], start_s: float, end_s: float) -> list[int]:
    return [i for i in indices if start_s - TIME_TOLERANCE_S <= times[i] <= end_s + TIME_TOLERANCE_S]


def clip_key(media: Medium, decoder: DecoderName = "pyav", factor: int = 28) -> str:
    """Hash of content and sampling of a clip, without order and view of its frames: no order is decoded again.

    Uses `media.content` if it is set, else hashes the file. Raises ClipError if there is no such file or folder.
    """
    content = media.content or content_of(media)
    choice: tuple[object, ...]
    if isinstance(media, Video):
        choice = (FORMAT, decoder, factor, media.sampling, media.start_s, media.end_s, media.source_fps, media.windows)
    else:
        choice = (FORMAT, "image", factor, media.min_pixels, media.max_pixels)
    return hashlib.blake2b(f"{content} {choice!r}".encode(), digest_size=16).hexdigest()


def content_of(media: Medium) -> str:
    """Fingerprint of the file, or of all files of the folder or list, as they are now.

    Raises ClipError if one is missing, StorageError if their storage does not answer.
    """
    path = media.path
    if problem := path_problem(path):
        raise ClipError(f"{path}: {problem}")
    try:
        if path.is_dir():
            entries = sorted((e.name, e.stat().st_size, e.stat().st_mtime_ns) for e in os.scandir(path) if e.is_file())
        elif path.suffix == LIST_SUFFIX:
            entries = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in listed_images(path)]
        else:
            return _file_content(path)
        return hashlib.blake2b(repr(entries).encode(), digest_size=16).hexdigest()
    except FileNotFoundError as error:
        raise ClipError(f"{error.filename}: {type(media).__name__.lower()} not found") from error
    except OSError as error:
        kind = StorageError if error.errno in STORAGE_ERRORS else ClipError
        raise kind(f"{path}: cannot be read: {error.strerror}") from error


def _file_content(path: Path) -> str:
    member = find_member(path)
    if member is None:
        size, changed = path.stat().st_size, path.stat().st_mtime_ns
    else:
        size, changed = member.size, member.changed_ns
    digest = hashlib.blake2b(f"{size}".encode(), digest_size=16)
    with path.open("rb") if member is None else open_member(member) as file:
        if size <= WHOLE_HASH_BYTES:
            digest.update(file.read())
        else:
            digest.update(f"{changed}".encode())
            for block in range(HASHED_BLOCKS):
                file.seek((size - 65536) * block // (HASHED_BLOCKS - 1))
                digest.update(file.read(65536))
    return digest.hexdigest()


class ClipCache:
    """Decoded clips and images in a folder that all processes of a run share; each is decoded once.

    Child processes decode, one for each thread that does so, for at most `timeout_s` per clip. At `max_gib` the least
    recently used clips are removed.
    May be pickled: the copy uses the same folder.
    """

    def __init__(
        self, directory: Path, max_gib: float, decoder: DecoderName = "pyav", timeout_s: float = 60.0, factor: int = 28
    ) -> None:
        self._args = (directory, max_gib, decoder, timeout_s, factor)
        self.decodes = 0
        """Clips that this object decoded."""
        self.hits = 0
        """Clips that this object read from the folder."""
        self.damaged = 0
        """Cached clips whose checksum did not fit."""
        self._directory = directory
        self._files = FolderCache(directory, "*.clip", max_gib)
        self._decoder: DecoderName = decoder
        self._factor = factor
        self._timeout_s = timeout_s
        self._children = ChildProcesses(decode_process.__name__)
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    @classmethod
    def of(cls, recipe: Recipe, directory: Path) -> "ClipCache":
        """The cache of a run of `recipe`, in `directory`."""
        video = recipe.video
        factor = size_factor(recipe.model)
        return cls(directory, video.cache_gib, video.decoder, video.decode_timeout_s, factor)

    def __reduce__(self) -> tuple[object, ...]:
        return ClipCache, self._args

    def close(self) -> None:
        """End the child processes; they also end with this object and with the program."""
        self._children.close()

    def fingerprinted(self, media: Media | None) -> Media | None:
        """`media` with the fingerprint of its file as `content`; None for None. Raises ClipError without such a file.

        Later readers do not hash it again; a changed file that has to be decoded is a ClipError.
        """
        if isinstance(media, Several):
            return Several(tuple(replace(part, content=content_of(part)) for part in media.parts))
        return media and replace(media, content=content_of(media))

    @overload
    def load(self, media: Medium) -> Frames: ...
    @overload
    def load(self, media: None) -> None: ...
    @overload
    def load(self, media: Media | None) -> Shown | None: ...
    def load(self, media: Media | None) -> Shown | None:
        """Frames of `media`; None for None. Raises ClipError if undecodable, DataError if the folder is unusable."""
        if media is None:
            return None
        if isinstance(media, Several):
            return FramesOfSeveral(tuple(self.load(part) for part in media.parts))
        key = clip_key(media, self._decoder, self._factor)
        path = self._directory / f"{key}.clip"
        frames = self._find(path)
        if frames is None:
            with self._lock(key):
                frames = self._find(path) or self._decode(media, path, key)
        return _as_shown(frames, media)

    def find(self, media: Media) -> Shown | None:
        """Frames of `media` if they are in the folder, else None. Raises ClipError if there is no such file."""
        if isinstance(media, Several):
            found = [frames for part in media.parts for frames in frames_of(self.find(part))]
            return FramesOfSeveral(tuple(found)) if len(found) == len(media.parts) else None
        frames = self._find(self._directory / f"{clip_key(media, self._decoder, self._factor)}.clip")
        return frames and _as_shown(frames, media)

    def counters(self) -> dict[str, float]:
        return {"clips/decodes": self.decodes, "clips/hits": self.hits, "clips/damaged": self.damaged}

    def _find(self, path: Path) -> Frames | None:
        try:
            frames = read_frames(path)
            os.utime(path)
        except FileNotFoundError:
            return None
        except ValueError:
            self.damaged += 1
            path.unlink(missing_ok=True)
            return None
        self.hits += 1
        return frames

    def _decode(self, media: Medium, path: Path, key: str) -> Frames:
        if media.content not in (None, content_of(media)):
            raise ClipError(f"{media.path}: changed since its prompt was taken")
        reader_args = _reader_args(media, self._decoder)
        # It loads torch, for which the decoder's limit of time is not meant.
        import rft.data.sampling  # noqa: F401

        with (
            self._children.own() as child,
            decode_process.remote_source(child, self._timeout_s, media.path, *reader_args) as source,
        ):
            frames = _clip_frames(media, source, self._factor, key)
        self.decodes += 1
        try:
            self._files.store(path, lambda part: write_frames(frames, part))
        except OSError as error:
            raise self._unwritable(error) from error
        return frames

    @contextlib.contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        """Lock of a clip over all processes; 256 lock files serve all clips."""
        try:
            file = (self._directory / f"{key[:2]}.lock").open("w")
        except OSError as error:
            raise self._unwritable(error) from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _unwritable(self, error: OSError) -> DataError:
        return DataError(
            f"{self._directory}: cannot hold decoded clips: {error.strerror}. Free space or set video.cache_dir."
        )


class ClipPrefetch:
    """Fills a ClipCache in the background; a reader that needs a clip earlier waits for it.

    Errors are ignored here: the reader of the clip gets the same error.
    """

    def __init__(self, clips: ClipCache, num_workers: int) -> None:
        """`num_workers`: clips decoded at one time, each in a child process; 0: nothing is decoded ahead."""
        self._clips = clips
        self._pool = ThreadPoolExecutor(num_workers, "prefetch") if num_workers else None
        self._own = threading.local()
        self._copies: list[ClipCache] = []
        self._waiting: set[Future[None]] = set()

    @property
    def num_decodes(self) -> int:
        """Clips decoded so far."""
        return sum(clips.decodes for clips in self._copies)

    def prefetch(self, media: Sequence[Media]) -> None:
        """Decode these next. Earlier requests that have not begun are cancelled, so the buffer stays this long."""
        if self._pool is None:
            return
        for future in self._waiting:
            future.cancel()
        self._waiting = {future for future in self._waiting if not future.done()}
        self._waiting |= {self._pool.submit(self._load, one) for one in media}

    def close(self) -> None:
        """Cancel clips not yet started, wait for the others and end the child processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        for clips in self._copies:
            clips.close()

    def _load(self, media: Media) -> None:
        if not hasattr(self._own, "clips"):
            # A copy uses the same folder, with a separate child process.
            self._own.clips = copy(self._clips)
            self._copies.append(self._own.clips)
        with contextlib.suppress(DataError):
            self._own.clips.load(media)
