"""What does a long video cost? 64 frames out of two hours, and one update of the learner on up to 10,000 frames.

    python -m benchmarks.long_video

The file is drawn first. Its frames are read by jumps to the key frames before them, without jumps (every packet is
read, only those that are needed are decoded), and by decoding all of it. The learner trains all of a random policy of 1
M parameters on one prompt of so many frames of 28 x 28 pixels, a token for each pair of them.
"""

import argparse
import ctypes
import gc
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from transformers.utils import logging

from benchmarks.learner import status_kib
from benchmarks.random_policy import SIZES, make_group, write_model
from benchmarks.report import add_output_arguments, finish
from benchmarks.streams import Stream
from rft.data.decoders import VideoFile
from rft.learner.learner import Learner
from rft.recipe import Recipe
from rft.tables import TextTable
from rft.types import TrainGroup, Video

WIDTH, HEIGHT = 64, 48
COMPLETIONS = (4, 16)
"""Completions of the prompt, tokens of each."""

M_MMAP_THRESHOLD = -3
"""glibc's name of the size from which on freed memory leaves the process at once."""


def draw_film(path: Path, num_frames: int, fps: int) -> None:
    """Noise that drifts, a key frame every 250 frames at most."""
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, 4 * WIDTH, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(num_frames):
            picture = np.ascontiguousarray(np.roll(noise, number, axis=1)[:, :WIDTH])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def read_all(video: VideoFile, indices: Sequence[int]) -> list[np.ndarray]:
    wanted = set(indices)
    with av.open(str(video.path)) as container:
        frames = enumerate(container.decode(video=0))
        return [frame.to_ndarray(format="rgb24") for number, frame in frames if number in wanted]


def read_film(path: Path, num_chosen: int) -> dict[str, Any]:
    """Seconds of each way; the frames are compared."""
    begun = time.perf_counter()
    video = VideoFile(path)
    found: dict[str, Any] = {"times": time.perf_counter() - begun}
    indices = np.linspace(0, len(video.timestamps_s) - 1, num_chosen).astype(int).tolist()
    without = VideoFile(path)
    without._numbers = {}
    ways = {"jumps": video.read, "no jumps": without.read, "decode all": lambda chosen: read_all(video, chosen)}
    frames = {}
    for way, read in ways.items():
        begun = time.perf_counter()
        frames[way] = list(read(indices))
        found[way] = time.perf_counter() - begun
    assert all(np.array_equal(frames[way], frames["jumps"]) for way in ways)
    chosen = {video.display_times[index] for index in indices}
    return found | {
        "frames": len(video.timestamps_s),
        "decoded": sum(video.needed(chosen)),
        "mib": path.stat().st_size / 2**20,
    }


def group_of(stream: Stream, num_frames: int) -> TrainGroup:
    """A prompt of so many frames, with random completions."""
    one = make_group(0, torch.randint(5, 1024, COMPLETIONS).tolist())
    assert isinstance(one.prompt.media, Video)
    prompt = replace(one.prompt, media=replace(one.prompt.media, end_s=num_frames / 2))
    num_tokens = len(stream.encode(prompt, None).token_ids)
    completions = tuple(replace(completion, num_prompt_tokens=num_tokens) for completion in one.completions)
    return replace(one, prompt=prompt, completions=completions)


def learn(folder: Path, numbers: Sequence[int], *, checkpointing: bool) -> dict[str, dict[str, float]]:
    """By number of frames: packed tokens, seconds and peak memory of an update, after a small one that warms up."""
    write_model(SIZES["1m"], folder, torch.device("cpu"))
    section = {"dtype": "float32", "gradient_checkpointing": checkpointing}
    keys = {"model": str(folder), "tasks": {}, "data": {"train": ()}, "steps": 100, "learner": section}
    stream = Stream(max(numbers) // 2, side=2)
    learner = Learner(folder, Recipe.model_validate(keys), stream, stream, 100)  # type: ignore[arg-type]
    learner.update([group_of(stream, 20)])
    found = {}
    for num_frames in numbers:
        group = group_of(stream, num_frames)
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # Linux forgets the highest resident size so far
        before, begun = status_kib("VmRSS"), time.perf_counter()
        metrics = learner.update([group])
        found[str(num_frames)] = {
            "tokens": metrics["num_packed_tokens"],
            "seconds": time.perf_counter() - begun,
            "peak_mib": (status_kib("VmHWM") - before) / 2**10,
        }
    return found


def tables(result: dict[str, Any]) -> list[TextTable]:
    film = result["film"]
    lines = tuple((way, f"{film[way]:.2f}") for way in ("times", "jumps", "no jumps", "decode all"))
    title = f"{result['chosen']} of {film['frames']:,} frames, {film['mib']:.0f} MiB, {film['decoded']:,} decoded"
    points = tuple(
        (name, number, *(f"{of[key]:,.4g}" for key in ("tokens", "seconds", "peak_mib")))
        for name in ("plain", "checkpointing")
        for number, of in result[name].items()
    )
    return [
        TextTable(title, ("", "seconds"), lines, ""),
        TextTable("One update", ("learner", "frames", "tokens", "seconds", "peak MiB"), points, ""),
    ]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--hours", type=float, default=2.0, help="of the film")
    parser.add_argument("--fps", type=int, default=10, help="of the film")
    parser.add_argument("--chosen", type=int, default=64, help="frames that are read, evenly spaced")
    parser.add_argument("--frames", type=int, nargs="+", default=[100, 1000, 10_000], help="of the learner's prompts")
    add_output_arguments(parser)
    arguments = parser.parse_args(argv)
    logging.disable_progress_bar()
    ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 65536)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_film(folder / "film.mp4", int(arguments.hours * 3600 * arguments.fps), arguments.fps)
        result: dict[str, Any] = {"chosen": arguments.chosen, "film": read_film(folder / "film.mp4", arguments.chosen)}
        for way, checkpointing in (("plain", False), ("checkpointing", True)):
            result[way] = learn(folder / "policy", arguments.frames, checkpointing=checkpointing)
    return finish("long_video", result, tables(result), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
