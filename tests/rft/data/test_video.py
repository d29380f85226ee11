import contextlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from grey_clips import SAMPLING, WriteClip, video
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import resize

from rewards.targets.span import SpanTarget
from rft.data import decode_process
from rft.data.child_process import ChildProcess
from rft.data.dataset import PromptOrder
from rft.data.decode_process import remote_source
from rft.data.decoders import FrameSource, open_source
from rft.data.frames import ClipError, Frames, StorageError
from rft.data.video import ClipCache, clip_key, content_of, decode
from rft.errors import DataError
from rft.types import Image, Prompt


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[ClipCache]:
    cache = ClipCache(tmp_path / "clips", max_gib=1.0)
    yield cache
    cache.close()


def test_a_clip_is_decoded_once_for_all_processes(write_clip: WriteClip, cache: ClipCache) -> None:
    clip = video(write_clip())
    expected, first, again = decode(clip), cache.load(clip), cache.load(clip)
    other = pickle.loads(pickle.dumps(cache))
    for frames in (first, again, other.load(clip)):
        assert np.array_equal(frames.pixels, expected.pixels)
        assert (frames.timestamps_s, frames.frame_indices) == (expected.timestamps_s, expected.frame_indices)
        assert frames.key == expected.key
    assert (cache.decodes, cache.hits) == (1, 1)
    assert (other.decodes, other.hits) == (0, 1)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file of Linux that cannot be read")
def test_a_file_whose_storage_does_not_answer_is_told_from_a_damaged_one() -> None:
    with pytest.raises(StorageError, match="/proc/self/mem: cannot be read: Input/output error"):
        content_of(Image(Path("/proc/self/mem"), 784, 784))


def test_what_chooses_frames_is_loaded_before_the_decoders_time_runs(
    write_clip: WriteClip, cache: ClipCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*asked: object) -> Iterator[None]:
        raise ClipError(f"loaded: {'rft.data.sampling' in sys.modules}")

    monkeypatch.delitem(sys.modules, "rft.data.sampling", raising=False)
    monkeypatch.setattr(decode_process, "remote_source", opened)
    with pytest.raises(ClipError, match="loaded: True"):
        cache.load(video(write_clip()))


def test_finding_a_clip_decodes_nothing(write_clip: WriteClip, cache: ClipCache) -> None:
    clip = video(write_clip())
    assert cache.find(clip) is None
    assert cache.decodes == 0
    loaded, found = cache.load(clip), cache.find(clip)
    assert found is not None
    assert np.array_equal(found.pixels, loaded.pixels)
    assert cache.decodes == 1


def test_threads_that_miss_together_decode_once(write_clip: WriteClip, cache: ClipCache) -> None:
    clip = video(write_clip())
    threads = [threading.Thread(target=cache.load, args=(clip,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (cache.decodes, cache.hits) == (1, 3)


def test_threads_decode_at_the_same_time_each_in_a_process_that_is_used_again(
    write_clip: WriteClip, cache: ClipCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, pids = threading.Barrier(2), []

    @contextlib.contextmanager
    def remote(child: ChildProcess, *request: Any) -> Iterator[FrameSource]:
        with remote_source(child, *request) as source:
            pids.append(child.pid)
            together.wait(60)
            yield source

    monkeypatch.setattr(decode_process, "remote_source", remote)
    path = write_clip()
    by_lock = {clip_key(clip)[:2]: clip for clip in (video(path, start_s=0.01 * number) for number in range(9))}
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(cache.load, list(by_lock.values())[:4]))
    assert (cache.decodes, len(pids)) == (4, 4)
    assert len({*pids[:2]}) == 2
    assert {*pids[2:]} == {*pids[:2]}


def test_key_follows_content_and_sampling(write_clip: WriteClip, tmp_path: Path) -> None:
    path = write_clip()
    copy = Path(shutil.copy(path, tmp_path / "copy.mp4"))
    key = clip_key(video(path))
    assert clip_key(video(copy)) == key
    copy.write_bytes(copy.read_bytes()[:-1] + b"!")
    others = [video(copy), *(video(path, **c) for c in ({"start_s": 0.5}, {"end_s": 0.5}, {"windows": ((0.0, 1.0),)}))]
    keys = {clip_key(other) for other in others} | {
        clip_key(video(path), "torchcodec"),
        clip_key(video(path), "pyav", 32),
    }
    assert len(keys | {key}) == 7


def test_a_file_is_hashed_when_its_prompt_is_taken_and_not_again(write_clip: WriteClip, cache: ClipCache) -> None:
    clip = video(write_clip())
    order = PromptOrder([Prompt("p", "temporal_grounding", "", clip, SpanTarget(0, 1))], 0, cache, 0.0)
    (before,) = order.take(1)
    first = np.array(cache.load(before.media).pixels)
    write_clip(num_frames=37)
    assert cache.load(before.media).key == clip_key(before.media) != clip_key(clip)
    assert cache.find(replace(before.media, shuffle_seed=1)) is not None
    assert np.array_equal(cache.load(before.media).pixels, first)
    (after,) = order.take(1)
    assert after.media.content != before.media.content
    assert cache.load(after.media).key == clip_key(clip)


def test_a_file_that_changed_since_its_prompt_was_taken_is_not_decoded_as_the_old_one(
    write_clip: WriteClip, cache: ClipCache, tmp_path: Path
) -> None:
    clip = cache.fingerprinted(video(write_clip()))
    write_clip(num_frames=37)
    with pytest.raises(ClipError, match=r"clip\.mp4: changed since its prompt was taken"):
        cache.load(clip)
    assert cache.decodes == 0
    with pytest.raises(ClipError, match=r"gone\.mp4: video not found"):
        cache.fingerprinted(video(tmp_path / "gone.mp4"))
    assert cache.fingerprinted(None) is None


def test_least_recently_used_clips_make_room(write_clip: WriteClip, tmp_path: Path) -> None:
    clips = [video(write_clip(f"{i}.mp4", num_frames=20 + i)) for i in range(4)]
    size = decode(clips[0]).pixels.nbytes
    cache = ClipCache(tmp_path / "small", max_gib=3.5 * size / 2**30)
    for clip in clips[:3]:
        cache.load(clip)
        time.sleep(0.01)
    cache.load(clips[0])
    cache.load(clips[3])
    decodes = cache.decodes
    cache.load(clips[0])
    assert cache.decodes == decodes
    cache.load(clips[1])
    assert cache.decodes == decodes + 1
    cache.close()


def test_a_cache_file_that_was_cut_short_is_decoded_again(
    write_clip: WriteClip, cache: ClipCache, tmp_path: Path
) -> None:
    clip = video(write_clip())
    expected = np.array(cache.load(clip).pixels)
    (file,) = (tmp_path / "clips").glob("*.clip")
    for length in (0, 5, 100, file.stat().st_size - 1):
        os.truncate(file, length)
        assert np.array_equal(cache.load(clip).pixels, expected)
    assert cache.decodes == 5
    assert cache.damaged == 4


@pytest.mark.parametrize("position", [3, 9, 20, 200, -1])
def test_a_cached_clip_with_a_flipped_byte_is_counted_and_decoded_again(
    write_clip: WriteClip, cache: ClipCache, tmp_path: Path, position: int
) -> None:
    clip = video(write_clip())
    expected = np.array(cache.load(clip).pixels)
    (file,) = (tmp_path / "clips").glob("*.clip")
    content = bytearray(file.read_bytes())
    content[position] ^= 0xFF
    file.write_bytes(content)
    assert np.array_equal(cache.load(clip).pixels, expected)
    assert np.array_equal(cache.load(clip).pixels, expected)
    assert cache.counters() == {"clips/decodes": 2, "clips/hits": 1, "clips/damaged": 1}


def test_a_cache_that_cannot_be_written_is_not_the_clips_fault(write_clip: WriteClip, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cache_dir") as caught:
        ClipCache(tmp_path / "file" / "clips", 1.0)
    assert not isinstance(caught.value, ClipError)
    cache = ClipCache(tmp_path / "gone", 1.0)
    (tmp_path / "gone").rmdir()
    with pytest.raises(DataError, match=r"cache_dir") as caught:
        cache.load(video(write_clip()))
    assert not isinstance(caught.value, ClipError)
    cache.close()


def test_a_bad_clip_is_named_and_the_next_one_works(write_clip: WriteClip, cache: ClipCache, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video")
    with pytest.raises(ClipError, match=r"bad\.mp4: not a readable video"):
        cache.load(video(bad))
    with pytest.raises(ClipError, match=r"gone\.mp4: video not found"):
        cache.load(video(tmp_path / "gone.mp4"))
    assert cache.load(video(write_clip())).pixels.shape[1:] == (56, 56, 3)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("fifo", "fifo: neither a file nor a folder"),
        ("/dev/zero", "/dev/zero: neither a file nor a folder"),
        ("a\0b", "no file can have this name: embedded null byte"),
        ("x" * 5000, "File name too long"),
    ],
)
def test_what_is_no_file_is_not_opened(cache: ClipCache, tmp_path: Path, name: str, problem: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    for reader in (cache.fingerprinted, cache.load, cache.find, decode):
        with pytest.raises(ClipError, match=problem):
            reader(video(tmp_path / name))


def test_a_decoder_that_takes_too_long_is_ended(write_clip: WriteClip, tmp_path: Path) -> None:
    clip = video(write_clip())
    hasty = ClipCache(tmp_path / "clips", 1.0, timeout_s=0.0005)
    for _ in range(2):
        with pytest.raises(ClipError, match=r"clip\.mp4: decoding takes longer than video\.decode_timeout_s=0\.0005"):
            hasty.load(clip)
    with hasty._children.own() as child:
        assert child.pid is None


def test_a_decoder_that_crashes_costs_one_clip(write_clip: WriteClip) -> None:
    child = ChildProcess("rft.data.decode_process")

    def crash() -> None:
        with remote_source(child, 20.0, write_clip(), None, "pyav") as source:
            assert child.pid is not None
            os.kill(child.pid, signal.SIGSEGV)
            list(source.read([0]))

    with pytest.raises(ClipError, match=r"clip\.mp4: the decoder crashed on it"):
        crash()
    with remote_source(child, 20.0, write_clip(), None, "pyav") as source:
        assert len(list(source.read([3]))) == 1
    child.close()


@pytest.mark.parametrize("end", ["pass", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
def test_no_child_outlives_its_parent(write_clip: WriteClip, end: str) -> None:
    script = f"""
from pathlib import Path
from rft.data.child_process import ChildProcess
from rft.data.decode_process import remote_source
child = ChildProcess("rft.data.decode_process")
with remote_source(child, 20.0, Path({str(write_clip())!r}), None, "pyav") as source:
    list(source.read([0]))
print(child.pid, flush=True)
{end}
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    pid = int(result.stdout)
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists()


def sampled_fps(frames: Frames) -> float:
    """Chosen frames per second, as transformers' VideoMetadata states it."""
    return len(frames.frame_indices) / frames.num_source_frames * frames.source_fps


def test_windows_are_sampled_as_if_the_rest_was_cut_out(write_clip: WriteClip) -> None:
    sampling = replace(SAMPLING, num_frames=6)
    path = write_clip(num_frames=40)
    frames = decode(video(path, sampling=sampling, start_s=0.5, windows=((0.5, 0.7), (2.0, 2.2))))
    assert frames.frame_indices == (10, 11, 12, 25, 26, 27)
    assert frames.timestamps_s == pytest.approx((0.5, 0.6, 0.7, 2.0, 2.1, 2.2))
    assert (sampled_fps(frames), frames.num_source_frames) == (pytest.approx(10.0), 6)
    with pytest.raises(ClipError, match=r"0 frame\(s\) in the windows"):
        decode(video(path, windows=((90.0, 91.0),)))


def test_published_tracking_frames_are_stated_as_two_a_second(write_clip: WriteClip) -> None:
    frames = decode(video(write_clip(num_frames=37), sampling=replace(SAMPLING, pick="published_tracking")))
    assert frames.frame_indices == (0, 6, 12, 18, 24, 30, 36, 36)
    assert sampled_fps(frames) == pytest.approx(2.0)
    assert frames.duration_s == pytest.approx(3.7)


def test_published_tracking_frames_are_rounded_to_patches_by_pil_first(write_clip: WriteClip) -> None:
    """As the released code does it: PIL's filter to the nearest multiples of 28, then qwen-vl-utils'."""
    path = write_clip(size=(250, 190), num_frames=8, is_textured=True)
    sampling = replace(SAMPLING, min_pixels=4 * 784, max_pixels=20 * 784)
    published = decode(video(path, sampling=replace(sampling, pick="published_tracking")))
    frame = next(open_source(path, None, "pyav").read([0]))
    rounded = PIL.Image.fromarray(frame).resize((252, 196), PIL.Image.Resampling.BICUBIC)
    tensor = torch.from_numpy(np.array(rounded)).permute(2, 0, 1)[None]
    expected = resize(tensor, [84, 140], InterpolationMode.BICUBIC, antialias=True)[0].permute(1, 2, 0).numpy()
    assert np.array_equal(published.pixels[0], expected)
    usual = decode(video(path, sampling=replace(sampling, num_frames=8)))
    assert usual.pixels.shape == published.pixels.shape
    assert not np.array_equal(usual.pixels[0], published.pixels[0])


def test_shuffled_frames_are_the_same_pictures_at_the_same_times(write_clip: WriteClip, cache: ClipCache) -> None:
    path = write_clip(fps=4)
    in_order, one, again, other = (cache.load(video(path, shuffle_seed=seed)) for seed in (None, 1, 1, 2))
    assert cache.counters() == {"clips/decodes": 1, "clips/hits": 3, "clips/damaged": 0}
    assert one.timestamps_s == in_order.timestamps_s
    shown = [frame.mean() for frame in one.pixels]
    assert shown != sorted(shown)
    assert sorted(shown) == [frame.mean() for frame in in_order.pixels]
    assert (one.pixels == again.pixels).all()
    assert not (one.pixels == other.pixels).all()
    assert one.key == again.key == decode(video(path, shuffle_seed=1)).key
    assert len({in_order.key, one.key, other.key}) == 3
