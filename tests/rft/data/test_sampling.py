from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from grey_clips import WriteClip, video
from qwen_vl_utils import vision_process as qwen

from rft.data.frames import ClipError
from rft.data.sampling import choose_frames, frame_size, stream_fps
from rft.data.video import decode
from rft.types import FRAMES_PER_GRID, MAX_FRAME_TOKENS, VideoSampling

PUBLISHED = VideoSampling(2.0, 4, 768, 16 * 784, 768 * 784, 3584 * 784)


@pytest.mark.parametrize(
    ("seconds", "frames", "size"),
    [
        (10, 18, (364, 476)),
        (31, 60, (252, 336)),
        (60, 118, (168, 224)),
        (117, 232, (112, 168)),
        (240, 478, (84, 112)),
        (755, 768, (84, 112)),
    ],
)
def test_published_policy_on_480x360(seconds: int, frames: int, size: tuple[int, int]) -> None:
    """What VideoChat-R1's settings make of clips of these lengths at 29.97 frames per second."""
    fps = 30000 / 1001
    chosen = choose_frames([i / fps for i in range(int(seconds * fps))], fps, PUBLISHED)
    assert len(chosen) == frames
    assert chosen[0] == 0
    assert chosen[-1] == int(seconds * fps) - 1
    assert frame_size(360, 480, frames, PUBLISHED, 28) == size


def test_limits_of_a_frame_are_those_of_qwen_vl_utils() -> None:
    assert (qwen.VIDEO_MAX_TOKEN_NUM, qwen.FRAME_FACTOR) == (MAX_FRAME_TOKENS, FRAMES_PER_GRID)


@pytest.mark.parametrize(
    ("changes", "total", "chosen"),
    [
        ({"num_frames": 4}, 10, [0, 3, 6, 9]),
        ({"num_frames": 3}, 11, [0, 5, 10, 10]),
        ({"num_frames": 8, "pick": "start_then_even"}, 14, [0, 1, 3, 5, 7, 9, 11, 13]),
        ({"num_frames": 2, "pick": "start_then_even"}, 5, [0, 1]),
        ({"pick": "published_tracking"}, 101, [0, 16, 33, 50, 66, 83, 100, 100]),
        ({"pick": "published_tracking"}, 3, [0, 0, 0, 1, 1, 1, 2, 2]),
    ],
)
def test_a_number_of_frames_in_place_of_a_rate(changes: dict[str, Any], total: int, chosen: list[int]) -> None:
    assert choose_frames([i / 10 for i in range(total)], 10.0, replace(PUBLISHED, **changes)) == chosen


@pytest.mark.parametrize(
    ("total", "max_frames", "chosen", "rate"),
    [
        (17, 8, [0, 5, 10, 15], 2.0),
        (16, 8, [0, 5, 10, 15], 2.0),
        (15, 8, [0, 5], 2.0),
        (3, 8, [0, 0], 2.0),
        (41, 8, [0, 10, 20, 30], 1.0),
        (36, 8, [0, 5, 10, 15, 20, 25, 30, 35], 2.0),
    ],
)
def test_a_stream_begins_alike_wherever_it_ends(total: int, max_frames: int, chosen: list[int], rate: float) -> None:
    """At 10 frames per second; an odd last frame waits, and a longer stream has a lower rate."""
    sampling = replace(PUBLISHED, pick="stream", max_frames=max_frames)
    times = [i / 10 for i in range(total)]
    assert choose_frames(times, 10.0, sampling) == chosen
    assert stream_fps(times, 10.0, sampling) == rate
    assert frame_size(360, 480, 2, sampling, 28) == frame_size(360, 480, 8, sampling, 28)


def test_a_stream_of_variable_rate_shows_what_is_on_display() -> None:
    sampling = replace(PUBLISHED, pick="stream")
    assert choose_frames([0.0, 0.1, 0.6, 0.9, 1.4, 1.5], 4.0, sampling) == [0, 1, 3, 5]


def test_more_frames_than_there_are_is_an_error() -> None:
    with pytest.raises(ValueError, match="5 frames, but 6 are needed"):
        choose_frames([0.0, 0.1, 0.2, 0.3, 0.4], 10.0, replace(PUBLISHED, num_frames=6))


def read_whole(ele: dict[str, Any]) -> tuple[torch.Tensor, dict[str, Any], float]:
    """A plain reader in the table of qwen-vl-utils: all frames first, then its choice."""
    with av.open(ele["video"]) as container:
        fps = float(container.streams.video[0].average_rate)
        pixels = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    first, last, total = qwen.calculate_video_frame_range(ele, len(pixels), fps)
    count = qwen.smart_nframes(ele, total_frames=total, video_fps=fps)
    indices = torch.linspace(first, last, count).round().long()
    frames = torch.from_numpy(pixels)[indices].permute(0, 3, 1, 2)
    metadata = {"fps": fps, "frames_indices": indices.tolist(), "total_num_frames": total}
    return frames, metadata, count / total * fps


@pytest.mark.parametrize(
    ("sampling", "cut"),
    [
        (VideoSampling(2.0, 4, 768, 4 * 784, 768 * 784, 3584 * 784), {}),
        (VideoSampling(3.0, 4, 8, 4 * 784, 6 * 784, 3584 * 784), {}),
        (VideoSampling(2.0, 4, 768, 16 * 784, 768 * 784, 20 * 784), {}),
        (VideoSampling(2.0, 4, 768, 4 * 784, 768 * 784, 3584 * 784), {"start_s": 1.03, "end_s": 3.51}),
        (VideoSampling(100.0, 4, 768, 4 * 784, 768 * 784, 3584 * 784), {"start_s": 2.0}),
    ],
)
def test_frames_equal_those_of_qwen_vl_utils(
    write_clip: WriteClip, monkeypatch: pytest.MonkeyPatch, sampling: VideoSampling, cut: dict[str, float]
) -> None:
    path = write_clip(num_frames=48, size=(126, 86), is_textured=True)
    monkeypatch.setitem(qwen.VIDEO_READER_BACKENDS, "plain", read_whole)
    monkeypatch.setattr(qwen, "get_video_reader_backend", lambda: "plain")
    ele = {
        "video": str(path),
        "fps": sampling.fps,
        "min_frames": sampling.min_frames,
        "max_frames": sampling.max_frames,
    }
    ele |= {"min_pixels": sampling.min_pixels, "max_pixels": sampling.max_pixels, "total_pixels": sampling.total_pixels}
    ele |= {f"video_{key.removesuffix('_s')}": value for key, value in cut.items()}
    (expected, metadata), fps = qwen.fetch_video(ele, return_video_sample_fps=True, return_video_metadata=True)
    frames = decode(video(path, sampling=sampling, **cut))
    assert list(frames.frame_indices) == metadata["frames_indices"]
    assert len(frames.frame_indices) / frames.num_source_frames * frames.source_fps == pytest.approx(fps)
    assert torch.equal(torch.from_numpy(frames.pixels).permute(0, 3, 1, 2).float(), expected)


def test_at_a_variable_rate_frames_are_even_in_time(write_clip: WriteClip) -> None:
    times_ms = [*range(0, 1000, 50), *range(1000, 5000, 500), 5000]
    frames = decode(video(write_clip(times_ms=times_ms), sampling=VideoSampling(2.0, 4, 64, 3136, 3136, 10**6)))
    even = np.linspace(0.0, 5.0, len(frames.timestamps_s))
    assert np.abs(even - frames.timestamps_s).max() <= 0.25  # half the largest step in the file
    assert frames.source_fps == pytest.approx(28 / 5)
    by_count = np.linspace(0, 28, len(frames.timestamps_s)).round().astype(int).tolist()
    assert list(frames.frame_indices) != by_count


def test_times_count_from_the_start_of_the_cut(write_clip: WriteClip) -> None:
    frames = decode(video(write_clip(num_frames=40, fps=10), start_s=1.0, end_s=3.0))
    assert frames.frame_indices[0] == 10
    assert frames.frame_indices[-1] == 30
    assert frames.timestamps_s[0] == 0.0
    assert frames.timestamps_s[-1] == pytest.approx(2.0)
    assert frames.num_source_frames == 21
    assert frames.duration_s == pytest.approx(2.1)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"start_s": 9.0}, "0 frame"),
        ({"start_s": 1.0, "end_s": 1.05}, "1 frame"),
        ({"sampling": VideoSampling(2.0, 4, 8, 4000, 3136, 10**6)}, "max_pixels 3136 is below"),
    ],
)
def test_a_cut_or_a_budget_that_leaves_nothing(write_clip: WriteClip, changes: dict[str, Any], cause: str) -> None:
    with pytest.raises(ClipError, match=cause):
        decode(video(write_clip(), **changes))


def test_factor_sets_the_grid_of_sizes(write_clip: WriteClip) -> None:
    sampling = VideoSampling(2.0, 4, 8, 64 * 64, 128 * 128, 10**6)
    path: Path = write_clip(size=(100, 70))
    assert decode(video(path, sampling=sampling), factor=28).pixels.shape[1:3] == (56, 112)
    assert decode(video(path, sampling=sampling), factor=32).pixels.shape[1:3] == (64, 96)
