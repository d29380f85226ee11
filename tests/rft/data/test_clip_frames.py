import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from rft.data.clip_frames import ClipFrames, evenly
from rft.data.frames import Frames, write_frames
from rft.data.video import ClipCache, clip_key
from rft.types import Video, VideoSampling


@pytest.mark.parametrize(
    ("length", "number", "places"),
    [(8, 2, [2, 6]), (8, 1, [4]), (8, 8, list(range(8))), (3, 8, [0, 1, 2]), (7, 3, [1, 3, 5]), (1, 1, [0])],
)
def test_places_lie_in_the_middle_of_equal_shares(length: int, number: int, places: list[int]) -> None:
    assert evenly(length, number) == places


def test_frames_of_the_cache_as_jpeg_files_in_true_order(tmp_path: Path) -> None:
    clips = ClipCache(tmp_path, 1.0)
    sampling = VideoSampling(fps=2.0, min_frames=4, max_frames=8, min_pixels=1, max_pixels=99, total_pixels=999)
    video = Video(tmp_path / "clip.mp4", sampling, content="fingerprint", shuffle_seed=3)
    greys = [0, 60, 120, 180]
    pixels = np.stack([np.full((8, 16, 3), grey, np.uint8) for grey in greys])
    key = clip_key(video)
    write_frames(Frames(pixels, (0.0, 0.5, 1.0, 1.5), (0, 1, 2, 3), 2.0, 4, 2.0, key), tmp_path / f"{key}.clip")
    pictures = [Picture.open(io.BytesIO(file)) for file in ClipFrames(video, clips)(2)]
    assert [(picture.format, picture.size) for picture in pictures] == [("JPEG", (16, 8))] * 2
    assert [int(np.asarray(picture).mean().round()) for picture in pictures] == [60, 180]
    backwards = [Picture.open(io.BytesIO(file)) for file in ClipFrames(replace(video, view="reversed"), clips)(2)]
    assert [int(np.asarray(picture).mean().round()) for picture in backwards] == [120, 0]
    assert ClipFrames(None, clips)(2) == ()
