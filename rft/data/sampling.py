"""Choice of a clip's frames, and the size of frames and images, by the functions of qwen-vl-utils."""

import logging
from collections.abc import Sequence

import numpy as np
import PIL.Image
import torch
import torchvision.transforms.functional as transforms  # type: ignore[import-untyped]
from qwen_vl_utils import vision_process as qwen

from rft.data.frames import TIME_TOLERANCE_S
from rft.types import FRAMES_PER_GRID, Image, VideoSampling

# It warns of every clip with fewer frames than requested; Frames states their number.
logging.getLogger(qwen.__name__).setLevel(logging.ERROR)

SMALL = 16
"""Width and height of the greys by which still frames are known."""

MAX_DRIFT = 0.5
"""Largest distance of a frame from its evenly spaced time, in frame intervals, for a constant frame rate."""

PUBLISHED_TRACKING_FRAMES = 7
"""Number of frames of a tracking clip in VideoChat-R1's released code; its processor repeats the last one."""

PUBLISHED_TRACKING_FPS = 2.0
"""Frame rate that the released code states for them, for any length of the clip."""


def choose_frames(timestamps_s: Sequence[float], fps: float, sampling: VideoSampling) -> list[int]:
    """Indices into `timestamps_s`, an even number of them in order, chosen by the rule of `sampling`.

    By rate (fps): evenly spread over the clip. At a constant frame rate these are the frames of qwen-vl-utils; at a
    variable rate the frames nearest to evenly spaced *times*, because the model counts time by frames. As a stream: the
    frames on display at the times of `stream_fps`; an odd last one waits for the one it makes a pair with. By number
    (num_frames): that many; after an odd number the last frame is repeated, as processors do. Raises ValueError if the
    clip has too few frames.
    """
    total = len(timestamps_s)
    if sampling.pick == "published_tracking":
        last = PUBLISHED_TRACKING_FRAMES - 1
        return paired([int(i * (total - 1) / last) for i in range(PUBLISHED_TRACKING_FRAMES)])
    if sampling.num_frames is not None:
        if sampling.num_frames > total:
            raise ValueError(f"{total} frames, but {sampling.num_frames} are needed")
        if sampling.pick == "start_then_even":
            return paired([0, *_even_indices(1, total - 1, sampling.num_frames - 1)])
        return paired(_even_indices(0, total - 1, sampling.num_frames))
    if sampling.pick == "stream":
        step_s = 1 / stream_fps(timestamps_s, fps, sampling)
        count = int((timestamps_s[-1] - timestamps_s[0] + TIME_TOLERANCE_S) / step_s) + 1
        count -= count % FRAMES_PER_GRID if count > FRAMES_PER_GRID else 0
        shown_s = timestamps_s[0] + np.arange(count) * step_s + TIME_TOLERANCE_S
        return paired((np.searchsorted(timestamps_s, shown_s, side="right") - 1).tolist())
    rule = {"fps": sampling.fps, "min_frames": sampling.min_frames, "max_frames": sampling.max_frames}
    count = qwen.smart_nframes(rule, total_frames=total, video_fps=fps)
    times = np.asarray(timestamps_s)
    even = np.linspace(times[0], times[-1], total)
    if np.abs(times - even).max() <= MAX_DRIFT * (even[1] - even[0]):
        return _even_indices(0, total - 1, count)
    middles = (times[1:] + times[:-1]) / 2
    return [int(i) for i in np.searchsorted(middles, np.linspace(times[0], times[-1], count))]


def stream_fps(timestamps_s: Sequence[float], fps: float, sampling: VideoSampling) -> float:
    """Frames per second of a stream: at most the clip's `fps`, and halved until its frames are at most max_frames."""
    rate = min(sampling.fps, fps)
    while int((timestamps_s[-1] - timestamps_s[0] + TIME_TOLERANCE_S) * rate) >= sampling.max_frames:
        rate /= 2
    return rate


def nearest_frames(timestamps_s: Sequence[float], times_s: Sequence[float]) -> list[int]:
    """Indices of the frames nearest to the times, in order, each once; an even number, as in `choose_frames`."""
    times = np.asarray(timestamps_s)
    return paired(sorted({int(np.abs(times - time_s).argmin()) for time_s in times_s}))


def small_grey(frame: np.ndarray) -> np.ndarray:
    """`frame` uint8 [H, W, 3] as int16 [SMALL, SMALL] grey, each value the mean of its part of the frame."""
    grey = PIL.Image.fromarray(frame).convert("L").resize((SMALL, SMALL), PIL.Image.Resampling.BOX)
    return np.asarray(grey).astype(np.int16)


def _even_indices(first: int, last: int, count: int) -> list[int]:
    indices: list[int] = torch.linspace(first, last, count).round().long().tolist()
    return indices


def paired(indices: list[int]) -> list[int]:
    """The indices, the last one twice if their number is odd."""
    return indices + indices[-1:] * (len(indices) % 2)


def frame_size(height: int, width: int, num_frames: int, limits: VideoSampling | Image, factor: int) -> tuple[int, int]:
    """(height, width) of a clip's frames or an image, multiples of `factor`. ValueError: shape or limits allow none."""
    if limits.max_pixels < limits.min_pixels:
        raise ValueError(f"video.max_pixels {limits.max_pixels} is below video.min_pixels {limits.min_pixels}")
    most = limits.max_pixels if isinstance(limits, Image) else limits.frame_pixels(num_frames, factor)
    size: tuple[int, int] = qwen.smart_resize(
        height, width, factor=factor, min_pixels=limits.min_pixels, max_pixels=most
    )
    return size


def resize_to_patches(frame: np.ndarray, min_pixels: int, factor: int) -> np.ndarray:
    """`frame` uint8 [H, W, 3] with sides rounded to multiples of `factor`, by PIL's bicubic filter.

    VideoChat-R1's released code does so with tracking frames, before it chooses their final size.
    """
    height, width = qwen.smart_resize(
        *frame.shape[:2], factor=factor, min_pixels=min_pixels, max_pixels=qwen.IMAGE_MAX_TOKEN_NUM * factor**2
    )
    return np.array(PIL.Image.fromarray(frame).resize((width, height), PIL.Image.Resampling.BICUBIC))


def resize(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`frame` uint8 [H, W, 3] at `size`, bicubic with antialiasing, as qwen-vl-utils does it."""
    if frame.shape[:2] == size:
        return frame
    tensor = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None]
    resized = transforms.resize(tensor, list(size), interpolation=transforms.InterpolationMode.BICUBIC, antialias=True)
    result: np.ndarray = resized[0].permute(1, 2, 0).numpy()
    return result
