"""What does it take to make the model inputs of a prompt whose clip is decoded, and would a pool of workers pay?

    python -m benchmarks.prompts

Frames of noise and the processor of Qwen2.5-VL, in a process with the memory settings of a run's and one thread of
torch's. The ways take turns, each over all clips: floats as the model's own processor gives them, bytes as the learner
keeps them, the same by two threads and by two processes that send them back, and what the learner finds that has read
ahead. A table of medians, and one JSON object as its last line.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.report import add_output_arguments, finish
from rewards.targets.span import SpanTarget
from rft.data.frames import Frames, read_frames, write_frames
from rft.tables import TextTable
from rft.types import Prompt, Video, VideoSampling

NUM_WORKERS = 2
SAMPLING = VideoSampling(2.0, 4, 768, 3136, 10**6, 10**9)
PROMPT = Prompt("p", "temporal_grounding", "When does it move?", Video(Path("clip.mp4"), SAMPLING), SpanTarget(0, 1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--clips", type=int, default=6)
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--height", type=int, default=252, help="pixels, a multiple of 28")
    parser.add_argument("--width", type=int, default=364, help="pixels, a multiple of 28")
    parser.add_argument("--rounds", type=int, default=7, help="counted, after one that warms up")
    add_output_arguments(parser)
    args = parser.parse_args()
    from rft.actors.cluster import FOR_TENSORS

    os.environ.update(FOR_TENSORS)  # glibc reads its part where a process begins
    new = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, new) as process:
        shape = (args.frames, args.height, args.width, 3)
        found = process.submit(measure, Path(folder), args.clips, shape, args.rounds).result()
    columns = ("way", "seconds", "of the processor", "speed-up")
    floats = found["ways"]["floats"]["wall"]
    lines = tuple(
        (way, f"{one['wall']:.4f}", f"{one['cpu']:.4f}", f"{floats / one['wall']:.2f}")
        for way, one in found["ways"].items()
    )
    size = f"{found['prompt_tokens']:,} tokens, {found['mib']:.0f} MiB as bytes"
    return finish("prompts", found, [TextTable(f"Seconds per prompt of {size}", columns, lines)], args)


class Encoder:
    """Model inputs of a clip, made anew each time or `kept`."""

    def __init__(self, model: str) -> None:
        import torch

        from rft.data.cache import MemoryCache
        from rft.data.processor import PromptProcessor

        torch.set_num_threads(1)
        self._kept, self._anew = PromptProcessor(model), PromptProcessor(model)
        self._anew._cache = MemoryCache(0)

    def bytes(self, clip: Path, *, kept: bool = False) -> Any:
        return (self._kept if kept else self._anew).encode(PROMPT, read_frames(clip))

    def floats(self, clip: Path) -> Any:
        frames, processor = read_frames(clip), self._anew
        arguments = processor._media_args(PROMPT, frames) | {"do_rescale": True, "do_normalize": True}
        return processor._processor(text=[processor.text(PROMPT)], return_tensors="pt", **arguments)


def measure(folder: Path, num_clips: int, shape: tuple[int, ...], num_rounds: int) -> dict[str, Any]:
    """Seconds per prompt of each way, of the wall and of the processor: medians over the rounds."""
    from rft.synthetic.policy import build_policy

    model, clips = str(folder / "policy"), [folder / f"{number}.clip" for number in range(num_clips)]
    build_policy(Path(model))
    for number, clip in enumerate(clips):
        write_noise(clip, number, shape)
    encoder, seconds = Encoder(model), dict[str, list[tuple[float, float]]]()
    with ExitStack() as stack:
        forked = multiprocessing.get_context("fork")
        processes = stack.enter_context(ProcessPoolExecutor(NUM_WORKERS, forked, start, (model,)))
        spread(processes, clips)  # forked before there are threads
        threads = stack.enter_context(ThreadPoolExecutor(NUM_WORKERS, initializer=start, initargs=(model,)))
        ways: dict[str, Callable[[], object]] = {
            "floats": lambda: [encoder.floats(clip) for clip in clips],
            "bytes": lambda: [encoder.bytes(clip) for clip in clips],
            f"{NUM_WORKERS} threads": partial(spread, threads, clips),
            f"{NUM_WORKERS} processes": partial(spread, processes, clips),
            "ahead": lambda: [encoder.bytes(clip, kept=True) for clip in clips],
        }
        for _ in range(num_rounds + 1):
            for way, run in ways.items():
                seconds.setdefault(way, []).append(timed(run, num_clips))
        inputs = encoder.bytes(clips[0])
    counted = {way: list(zip(*rounds[1:], strict=True)) for way, rounds in seconds.items()}
    figures = {way: {"wall": median(wall), "cpu": median(cpu)} for way, (wall, cpu) in counted.items()}
    return {"ways": figures, "prompt_tokens": len(inputs.token_ids), "mib": inputs.num_bytes / 2**20}


OWN = threading.local()
"""Of a worker: its encoder."""


def start(model: str) -> None:
    OWN.encoder = Encoder(model)


def by_worker(clip: Path) -> tuple[int, float, tuple[int, ...], np.ndarray]:
    """Its process and seconds of the processor, tokens and patches."""
    began = time.thread_time()
    inputs = OWN.encoder.bytes(clip)
    patches = inputs.patches.numpy()
    return os.getpid(), time.thread_time() - began, inputs.token_ids, patches


def spread(workers: Executor, clips: list[Path]) -> float:
    """Seconds of the processor in other processes."""
    return sum(seconds for pid, seconds, *_ in workers.map(by_worker, clips) if pid != os.getpid())


def timed(run: Callable[[], object], num_clips: int) -> tuple[float, float]:
    """Seconds per clip, of the wall and of the processor. `run`: as `spread`, or all in this process."""
    wall, own = time.perf_counter(), time.process_time()
    others = run()
    return (
        (time.perf_counter() - wall) / num_clips,
        (time.process_time() - own + (others if isinstance(others, float) else 0.0)) / num_clips,
    )


def write_noise(path: Path, number: int, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(number).integers(0, 256, shape, np.uint8)
    indices = tuple(range(shape[0]))
    times_s = tuple(index / SAMPLING.fps for index in indices)
    duration_s = len(indices) / SAMPLING.fps
    write_frames(Frames(pixels, times_s, indices, SAMPLING.fps, len(indices), duration_s, str(number)), path)


if __name__ == "__main__":
    sys.exit(main())
