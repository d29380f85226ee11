"""Both decoders give the same frames. torchcodec finds FFmpeg's libraries where PyAV brings them."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import av
import pytest
from grey_clips import WriteClip, video

from rft.data.decoders import load_torchcodec
from rft.data.video import decode
from rft.errors import DataError

SCRIPT = """
import sys
from pathlib import Path

import numpy as np

from rft.data.video import decode
from rft.types import Video, VideoSampling

for path in sys.argv[1:]:
    clip = Video(Path(path), VideoSampling(4.0, 4, 64, 56 * 56, 84 * 84, 10**6))
    one, other = decode(clip, "pyav"), decode(clip, "torchcodec")
    same = one.pixels.shape == other.pixels.shape and np.abs(one.pixels.astype(int) - other.pixels).max() <= 1
    print("SAME" if same and one.frame_indices == other.frame_indices else f"DIFFERENT {path} {other.pixels.shape}")
"""


def link_libraries(folder: Path) -> None:
    """FFmpeg's libraries out of PyAV's wheel, under the names that torchcodec looks for."""
    folder.mkdir()
    for library in (Path(av.__file__).parents[1] / "av.libs").iterdir():
        plain = re.sub(r"(\.so\.\d+).*", r"\1", re.sub(r"-[0-9a-f]{8}", "", library.name))
        for name in {library.name, plain}:
            (folder / name).symlink_to(library)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torchcodec") is None, reason="torchcodec is not installed")
def test_both_decoders_give_the_same_frames(write_clip: WriteClip, tmp_path: Path) -> None:
    link_libraries(tmp_path / "libraries")
    clips = [
        write_clip("plain.mp4", num_frames=40, is_textured=True),
        write_clip("sized.mkv", num_frames=40, size=(130, 90), is_textured=True),
        write_clip("variable.mp4", times_ms=[0, 100, 200, 700, 750, 800, 1900, 2000], is_textured=True),
        turned(write_clip("flat.mp4", size=(84, 56), is_textured=True), tmp_path / "turned.mp4"),
    ]
    environment = os.environ | {"LD_LIBRARY_PATH": str(tmp_path / "libraries")}
    command = [sys.executable, "-c", SCRIPT, *map(str, clips)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert result.stdout.split("\n") == ["SAME"] * len(clips) + [""], result.stderr[-2000:]


def turned(path: Path, target: Path) -> Path:
    with av.open(str(path)) as source, av.open(str(target), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        stream.set_display_rotation(90)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    return target


def test_without_its_libraries_the_message_says_what_to_do(write_clip: WriteClip) -> None:
    if loads():
        pytest.skip("torchcodec loads here")
    with pytest.raises(DataError, match=r"video\.decoder: torchcodec cannot be loaded .* set video\.decoder=pyav"):
        decode(video(write_clip()), "torchcodec")


def loads() -> bool:
    try:
        load_torchcodec()
    except DataError:
        return False
    return True
