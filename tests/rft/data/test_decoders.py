from pathlib import Path

import av
import numpy as np
import pytest
from grey_clips import WriteClip, shade
from PIL import Image

from rft.data.decoders import VideoFile, image_files, open_source
from rft.data.frames import ClipError
from rft.data.video import content_of
from rft.types import Video, VideoSampling


def shades(path: Path, indices: list[int]) -> list[float]:
    return [float(frame.mean()) for frame in open_source(path, None, "pyav").read(indices)]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("closed.mp4", {}),
        ("closed.mkv", {}),
        ("stream.ts", {}),
        ("open.mkv", {"x264-params": "open-gop=1:scenecut=0:keyint=12:bframes=2:b-adapt=0"}),
    ],
)
@pytest.mark.parametrize("indices", [list(range(40)), [39], [11], [10, 11, 12], [0, 13, 38], [23, 25]])
def test_any_choice_of_frames_is_exact(
    write_clip: WriteClip, name: str, options: dict[str, str], indices: list[int]
) -> None:
    path = write_clip(name, num_frames=40, options=options)
    assert shades(path, indices) == pytest.approx([shade(i) for i in indices], abs=2)


def test_only_what_is_needed_is_decoded(write_clip: WriteClip) -> None:
    video = VideoFile(write_clip(num_frames=40, gop=10))
    needed = video.needed({video.display_times[25]})
    places = [i for i, is_needed in enumerate(needed) if is_needed]
    assert places == list(range(20, 20 + len(places)))
    assert 6 <= len(places) < 10


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts"])
def test_an_index_that_leads_elsewhere_costs_a_reading_from_the_start(write_clip: WriteClip, name: str) -> None:
    path, indices = write_clip(name, num_frames=40, gop=10), [5, 25, 38]
    wrong, unindexed = VideoFile(path), VideoFile(path)
    assert bool(wrong._numbers) == (name != "clip.ts")
    wrong._numbers = dict.fromkeys(wrong._numbers, 1000)
    unindexed._numbers = {}
    for video in (VideoFile(path), wrong, unindexed):
        assert [float(frame.mean()) for frame in video.read(indices)] == pytest.approx(
            [shade(i) for i in indices], abs=2
        )


def test_times_are_the_files_own(write_clip: WriteClip) -> None:
    times_ms = [0, 100, 200, 700, 750, 800, 1900, 2000]
    source = open_source(write_clip(times_ms=times_ms), None, "pyav")
    assert source.timestamps_s == pytest.approx([t / 1000 for t in times_ms])


def test_time_starts_at_the_first_frame(write_clip: WriteClip) -> None:
    path = write_clip("late.ts", num_frames=20)
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).time > 0.1
    assert open_source(path, None, "pyav").timestamps_s == pytest.approx([i / 10 for i in range(20)])


def test_a_phone_video_is_turned_upright(write_clip: WriteClip, tmp_path: Path) -> None:
    path, turned = write_clip(size=(84, 56)), tmp_path / "turned.mp4"
    with av.open(str(path)) as source, av.open(str(turned), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.set_display_rotation(90)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    with av.open(str(turned)) as container:
        frame = next(container.decode(video=0))
        assert frame.rotation != 0
        expected = np.rot90(frame.to_ndarray(format="rgb24"), 1 if frame.rotation == 90 else -1)
    assert np.array_equal(next(iter(open_source(turned, None, "pyav").read([0]))), expected)


def write_audio(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux([*stream.encode(frame), *stream.encode(None)])


def broken(kind: str, write_clip: WriteClip, tmp_path: Path) -> Path:
    path = tmp_path / f"{kind}.mp4"
    whole = write_clip(num_frames=40, size=(112, 112), gop=40)
    data = whole.read_bytes()
    match kind:
        case "missing":
            pass
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("not a video at all")
        case "without_index":
            path.write_bytes(data[:500])
        case "truncated":
            path.write_bytes(data[: len(data) - 600])
        case "damaged":
            start = data.index(b"mdat") + 800
            path.write_bytes(data[:start] + b"\xff" * 400 + data[start + 400 :])
        case "audio_only":
            write_audio(path)
        case "zero_frames":
            with av.open(str(path), "w") as container:
                container.add_stream("libx264", rate=10)
                container.start_encoding()
        case "folder_without_images":
            path.mkdir()
            (path / "notes.txt").write_text("x")
        case "device":
            return Path("/dev/null")
    return path


def read_all(path: Path) -> None:
    source = open_source(path, 10.0, "pyav")
    list(source.read(range(len(source.timestamps_s))))


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("missing", "not found"),
        ("empty", "empty file"),
        ("text", "not a readable video"),
        ("without_index", "not a readable video"),
        ("truncated", "truncated, holds"),
        ("damaged", "damaged"),
        ("audio_only", "no video stream"),
        ("zero_frames", "no video stream|holds no frames|not a readable video"),
        ("folder_without_images", r"without \.jpg"),
        ("device", "neither a file nor a folder"),
    ],
)
def test_a_broken_source_is_named_with_its_cause(write_clip: WriteClip, tmp_path: Path, kind: str, cause: str) -> None:
    path = broken(kind, write_clip, tmp_path)
    with pytest.raises(ClipError, match=cause) as caught:
        read_all(path)
    assert str(path) in str(caught.value)


def test_damage_that_the_decoder_conceals_is_seen(write_clip: WriteClip) -> None:
    path = write_clip(num_frames=40, size=(112, 112), gop=40, is_textured=True)
    data = bytearray(path.read_bytes())
    errors = []
    for start in range(data.index(b"mdat") + 5000, len(data) - 5000, (len(data) - 10000) // 8):
        path.write_bytes(data[:start] + bytes(40) + data[start + 40 :])
        try:
            read_all(path)
        except ClipError as error:
            errors.append(str(error))
    assert errors
    assert all(f"{path}: damaged, frame" in text for text in errors)


def test_a_truncated_matroska_is_seen(write_clip: WriteClip) -> None:
    path = write_clip("long.mkv", num_frames=60)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ClipError, match=r"truncated, holds .* of 6\.0 s"):
        open_source(path, None, "pyav")


def test_a_folder_of_frames(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        Image.new("RGB", (8, 6), (number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "groundtruth.txt").write_text("1,2,3,4")
    assert [file.name for file in image_files(tmp_path)] == ["1.png", "2.png", "10.png"]
    source = open_source(tmp_path, 4.0, "pyav")
    assert source.timestamps_s == (0.0, 0.25, 0.5)
    assert [frame[0, 0, 0] for frame in source.read([0, 2])] == [1, 10]
    with pytest.raises(ClipError, match="source_fps"):
        open_source(tmp_path, None, "pyav")


def test_a_list_of_frames(tmp_path: Path) -> None:
    for number in (1, 2):
        Image.new("RGB", (8, 6), (number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "videos").mkdir()
    listed = tmp_path / "videos" / "film.txt"
    listed.write_text("../2.png\n../1.png\n../2.png\n")
    source = open_source(listed, 4.0, "pyav")
    assert source.timestamps_s == (0.0, 0.25, 0.5)
    assert [frame[0, 0, 0] for frame in source.read([0, 1, 2])] == [2, 1, 2]
    video = Video(listed, VideoSampling(1.0, 4, 64, 784, 784, 784 * 64), source_fps=4.0)
    before = content_of(video)
    Image.new("RGB", (8, 6), (3, 0, 0)).save(tmp_path / "2.png", compress_level=0)
    assert content_of(video) != before
    (tmp_path / "1.png").unlink()
    with pytest.raises(ClipError, match=r"1\.png: video not found"):
        content_of(video)
    listed.write_bytes(b"\xff")
    with pytest.raises(ClipError, match="path of one image a line"):
        open_source(listed, 4.0, "pyav")


def test_images_of_a_folder_must_be_whole_and_of_one_size(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "1.png")
    Image.new("RGB", (6, 8)).save(tmp_path / "2.png")
    with pytest.raises(ClipError, match=r"2\.png: 6x8, frames before it 8x6"):
        list(open_source(tmp_path, 4.0, "pyav").read([0, 1]))
    (tmp_path / "2.png").write_bytes((tmp_path / "1.png").read_bytes()[:30])
    with pytest.raises(ClipError, match=r"2\.png: damaged image"):
        list(open_source(tmp_path, 4.0, "pyav").read([0, 1]))
