"""Frames that a clip is shown with beyond the rate: still ones left out, and times given by the row."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from grey_clips import SAMPLING, WriteClip, video

from rft.data.dataset import video_sampling
from rft.data.sampling import SMALL, nearest_frames, small_grey
from rft.data.video import clip_key, decode
from rft.recipe import Recipe
from rft.tasks import TASKS

DROPPING = replace(SAMPLING, drop_still=2.0)


def folder_of(path: Path, greys: list[int]) -> Path:
    """A folder of plain frames, one a grey; each is read as it is written."""
    path.mkdir()
    for number, grey in enumerate(greys):
        PIL.Image.new("RGB", (56, 56), (grey, grey, grey)).save(path / f"{number:03d}.png")
    return path


@pytest.mark.parametrize(
    ("greys", "kept"),
    [
        ([9] * 8, [0, 0]),
        ([9, 9, 9, 50, 50, 9, 9, 9], [0, 3, 5, 5]),
        ([0, 1, 2, 3, 4, 5, 6, 7], [0, 2, 4, 6]),  # slow motion: each is held against the last one shown
        ([9, 9, 9, 9, 9, 9, 9, 11], [0, 7]),
        ([0, 20, 40, 60, 80, 100, 120, 140], list(range(8))),
    ],
)
def test_still_frames_are_left_out_before_frames_are_paired(tmp_path: Path, greys: list[int], kept: list[int]) -> None:
    path = folder_of(tmp_path / "frames", greys)
    frames = decode(video(path, sampling=DROPPING, source_fps=2.0))
    assert list(frames.frame_indices) == kept
    assert [int(frame.mean()) for frame in frames.pixels] == [greys[i] for i in kept]
    assert frames.timestamps_s == tuple(i / 2 for i in kept)
    assert (frames.duration_s, frames.num_source_frames) == (4.0, 8)


def test_frames_keep_the_size_that_all_would_have(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "frames", [9] * 8)
    tight = replace(SAMPLING, fps=2.0, min_pixels=28 * 28, total_pixels=4 * 28 * 28)
    sizes = {
        decode(video(path, sampling=one, source_fps=2.0)).pixels.shape[1:]
        for one in (tight, replace(tight, drop_still=2.0))
    }
    assert sizes == {(28, 28, 3)}


def test_a_stated_rate_stands_for_the_true_one_and_moves_no_frame(tmp_path: Path) -> None:
    """8 of 16 frames of 8 s, one per second, told as 2 per second."""
    path = folder_of(tmp_path / "frames", list(range(16)))
    told = replace(SAMPLING, min_frames=8, max_frames=8)
    true, stated = (decode(video(path, sampling=one, source_fps=2.0)) for one in (told, replace(told, stated_fps=2.0)))
    assert stated.frame_indices == true.frame_indices
    assert stated.timestamps_s == true.timestamps_s
    assert [8 / 16 * frames.source_fps for frames in (true, stated)] == [1.0, 2.0]


def test_small_greys_are_means() -> None:
    frame = np.zeros((2 * SMALL, 2 * SMALL, 3), np.uint8)
    frame[:2, :2] = 200
    frame[2, 2] = 100
    grey = small_grey(frame)
    assert (grey[0, 0], grey[1, 1], grey.sum()) == (200, 25, 225)


@pytest.mark.parametrize(
    ("times_s", "indices"),
    [
        ((0.4, 1.0), [2, 5]),
        ((1.0, 0.4, 1.1), [2, 5, 6, 6]),
        ((0.41, 0.42), [2, 2]),
        ((99.0,), [9, 9]),
    ],
)
def test_frames_at_given_times(times_s: tuple[float, ...], indices: list[int]) -> None:
    assert nearest_frames([i / 5 for i in range(10)], times_s) == indices


def test_times_of_a_row_count_from_the_start_of_its_clip(write_clip: WriteClip) -> None:
    row = TASKS["caption"].example.model_copy(update={"frame_times_s": (0.5, 0.0)})
    recipe = Recipe.model_validate({"model": "m", "tasks": {"caption": {}}, "data": {"train": []}, "steps": 1})
    sampling = video_sampling(row, recipe)
    assert (sampling.num_frames, sampling.times_s) == (2, (0.5, 0.0))
    clip = video(write_clip(), sampling=replace(SAMPLING, times_s=(0.5, 0.0), num_frames=2), start_s=1.0)
    frames = decode(clip)
    assert (frames.frame_indices, frames.timestamps_s) == ((10, 15), (0.0, 0.5))
    others = [video(clip.path, sampling=one, start_s=1.0) for one in (SAMPLING, DROPPING)]
    assert len({clip_key(one) for one in (clip, *others)}) == 3


def test_a_time_outside_the_clip_is_a_problem_of_the_row() -> None:
    row = TASKS["caption"].example.model_copy(update={"duration_s": 5.0, "frame_times_s": (1.0, 9.0)})
    with pytest.raises(ValueError, match="frame_times_s: 9 s is outside the clip of 5 s"):
        TASKS["caption"].target(row)
