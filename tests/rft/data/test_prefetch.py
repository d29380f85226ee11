import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from grey_clips import WriteClip, video

from rft.data.frames import ClipError
from rft.data.video import ClipCache, ClipPrefetch


@pytest.fixture
def clips(tmp_path: Path) -> Iterator[ClipCache]:
    clips = ClipCache(tmp_path / "clips", max_gib=1.0)
    yield clips
    clips.close()


def wait_for(clips: ClipPrefetch, num_decodes: int) -> None:
    deadline = time.monotonic() + 60
    while clips.num_decodes < num_decodes:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_prefetched_clip_is_not_decoded_again(write_clip: WriteClip, clips: ClipCache) -> None:
    expected = [video(write_clip(f"{i}.mp4", num_frames=20 + i)) for i in range(3)]
    prefetch = ClipPrefetch(clips, num_workers=2)
    prefetch.prefetch(expected)
    wait_for(prefetch, 3)
    for clip in expected:
        clips.load(clip)
    assert (clips.decodes, clips.hits, prefetch.num_decodes) == (0, 3, 3)
    prefetch.close()


def test_a_bad_clip_is_left_to_its_reader(write_clip: WriteClip, clips: ClipCache, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    bad, good = video(tmp_path / "bad.mp4"), video(write_clip())
    prefetch = ClipPrefetch(clips, num_workers=1)
    prefetch.prefetch([bad, good])
    wait_for(prefetch, 1)
    with pytest.raises(ClipError, match="not a readable video"):
        clips.load(bad)
    prefetch.close()


def test_without_workers_nothing_is_decoded_ahead(write_clip: WriteClip, clips: ClipCache) -> None:
    prefetch = ClipPrefetch(clips, num_workers=0)
    prefetch.prefetch([video(write_clip())])
    assert prefetch.num_decodes == 0
    prefetch.close()
