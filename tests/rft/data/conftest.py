from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from grey_clips import WriteClip, shade


@pytest.fixture
def write_clip(tmp_path: Path) -> WriteClip:
    def write(
        name: str = "clip.mp4",
        *,
        num_frames: int = 20,
        fps: int = 10,
        times_ms: Sequence[int] | None = None,
        size: tuple[int, int] = (56, 56),
        gop: int = 12,
        b_frames: int = 2,
        options: dict[str, str] | None = None,
        is_textured: bool = False,
    ) -> Path:
        """A clip of grey frames, `shade(i)` each; `size` is (width, height), `times_ms` makes the rate variable."""
        path = tmp_path / name
        with av.open(str(path), "w", options={"movflags": "faststart"} if name.endswith("mp4") else {}) as container:
            stream = container.add_stream("libx264", rate=fps)
            stream.width, stream.height = size
            stream.pix_fmt = "yuv420p"
            stream.codec_context.time_base = Fraction(1, 1000)
            stream.options = {
                "preset": "veryfast",
                "g": str(gop),
                "bf": str(b_frames),
                "crf": "10",
                "x264-params": "scenecut=0",
            } | (options or {})
            for i in range(num_frames if times_ms is None else len(times_ms)):
                picture = np.full((size[1], size[0], 3), shade(i), np.uint8)
                if is_textured:
                    picture = np.random.default_rng(i).integers(0, 256, picture.shape, np.uint8)
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts = 1000 * i // fps if times_ms is None else times_ms[i]
                frame.time_base = Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return write
