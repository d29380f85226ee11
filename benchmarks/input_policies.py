"""What do the ways to choose a clip's frames cost, and do they show a short event among still frames?

    python -m benchmarks.input_policies
    python -m benchmarks.input_policies --recipe recipes/tiny_needles.yaml video.drop_still=6    # of its held-out clips

Drawn clips of 40 s: in half of them a shape crosses a still frame within one second, in the others it drifts all the
time. For each policy: visual tokens and processor seconds of a clip (decoding and choosing, one process), the share of
clips whose event is shown in at least one frame and in two, and the longest time without a frame of the drifting ones.
With `--recipe`: tokens and seconds of the clips of `data.eval`, under that recipe.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import mean

from benchmarks.report import add_output_arguments, finish
from rft.data.dataset import read_rows, to_prompt
from rft.data.frames import Frames
from rft.data.video import decode
from rft.recipe import Recipe
from rft.recipe.load import load_recipe
from rft.synthetic.clips import Scene, Shape, write_clip
from rft.tables import TextTable
from rft.types import FRAMES_PER_GRID, Several, Video, VideoSampling

LENGTH_S = 40.0
EVENT_S = 1.0
FACTOR = 28
EVERY = VideoSampling(2.0, 4, 768, FACTOR**2, 56 * 56, 3584 * FACTOR**2)
"""Two frames a second of 56 x 56 pixels."""

POLICIES = {
    "fps 2": EVERY,
    "fps 2, max_frames 16": replace(EVERY, max_frames=16),
    "fps 2, total_pixels of 16 frames": replace(EVERY, total_pixels=16 // FRAMES_PER_GRID * 56 * 56),
    "fps 2, drop_still 0.5": replace(EVERY, drop_still=0.5),
    "fps 8, drop_still 0.5": replace(EVERY, fps=8.0, drop_still=0.5),
    "fps 8, drop_still 2": replace(EVERY, fps=8.0, drop_still=2.0),
    "frame_times_s, 2 in the event": replace(EVERY, num_frames=2),
}


@dataclass(frozen=True, slots=True)
class Clip:
    """A drawn clip and its event, in seconds; None: it drifts."""

    path: Path
    event_s: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Row:
    """Figures of a policy, means over clips."""

    event_tokens: float
    drift_tokens: float
    cpu_s: float
    shown: float
    """Share of events in at least one frame."""
    shown_twice: float
    longest_gap_s: float
    """Of the drifting clips, with the clip's start and end."""


def draw_clips(folder: Path, number: int, seed: int) -> list[Clip]:
    rng, clips = random.Random(seed), []
    for i in range(number):
        begin = None if i % 2 else rng.uniform(1.0, LENGTH_S - EVENT_S - 1.0)
        seen = (0.0, LENGTH_S) if begin is None else (begin, begin + EVENT_S)
        y = rng.uniform(0.2, 0.8)
        shape = Shape(rng.choice(("red", "green", "blue")), "circle", rng.uniform(0.1, 0.16), (0.2, y), (0.8, y), seen)
        path = folder / f"{i:03d}.mp4"
        write_clip(Scene((shape,), Fraction(8), LENGTH_S, rng.getrandbits(32)), path)
        clips.append(Clip(path, None if begin is None else seen))
    return clips


def measured(clips: Sequence[Clip], policy: VideoSampling) -> Row:
    decoded: list[tuple[Clip, Frames]] = []
    begun = time.process_time()
    for clip in clips:
        middle = sum(clip.event_s or (0.0, LENGTH_S)) / 2
        times = (middle - EVENT_S / 4, middle + EVENT_S / 4) if policy.num_frames else ()
        decoded.append((clip, decode(Video(clip.path, replace(policy, times_s=times)))))
    cpu_s = (time.process_time() - begun) / len(clips)
    events = [(clip.event_s, frames) for clip, frames in decoded if clip.event_s]
    drifts = [frames for clip, frames in decoded if clip.event_s is None]
    counts = [len({t for t in frames.timestamps_s if begin <= t < end}) for (begin, end), frames in events]
    gaps = [max(b - a for a, b in pairwise((0.0, *frames.timestamps_s, LENGTH_S))) for frames in drifts]
    return Row(
        mean(tokens(frames) for _, frames in events),
        mean(map(tokens, drifts)),
        cpu_s,
        mean(count >= 1 for count in counts),
        mean(count >= 2 for count in counts),
        mean(gaps),
    )


def tokens(frames: Frames) -> int:
    """Visual tokens of a clip."""
    count, height, width, _ = frames.pixels.shape
    return count // FRAMES_PER_GRID * (height // FACTOR) * (width // FACTOR)


def measured_recipe(recipe: Recipe) -> dict[str, float]:
    """Means over the clips of `data.eval`."""
    rows = read_rows(recipe.data.eval, recipe.data.video_root, recipe.tasks)
    media = [to_prompt(row, recipe).media for row in rows]
    parts = [part for one in media for part in (one.parts if isinstance(one, Several) else (one,))]
    begun = time.process_time()
    shown = sum(tokens(decode(part)) for part in parts if isinstance(part, Video))
    return {"tokens": shown / len(rows), "cpu_s": (time.process_time() - begun) / len(rows)}


def table(rows: dict[str, Row]) -> TextTable:
    head = ("policy", "tokens, event", "tokens, drift", "ms a clip", "event shown", "shown twice", "longest gap, drift")
    lines = tuple(
        (
            name,
            f"{row.event_tokens:.0f}",
            f"{row.drift_tokens:.0f}",
            f"{1000 * row.cpu_s:.0f}",
            f"{row.shown:.2f}",
            f"{row.shown_twice:.2f}",
            f"{row.longest_gap_s:.1f} s",
        )
        for name, row in rows.items()
    )
    return TextTable("Input policies: clips of 40 s at 8 fps, 56 x 56 pixels", head, lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipe", type=Path, help="measure its held-out clips in place of drawn ones")
    parser.add_argument("overrides", nargs="*", help="keys of the recipe to set")
    add_output_arguments(parser)
    arguments = parser.parse_intermixed_args(argv)
    if arguments.recipe:
        found = measured_recipe(load_recipe(arguments.recipe, arguments.overrides))
        line = (f"{found['tokens']:.1f}", f"{1000 * found['cpu_s']:.1f}")
        named = TextTable(f"{arguments.recipe} {' '.join(arguments.overrides)}", ("tokens", "ms a clip"), (line,))
        return finish("input_policies", found, [named], arguments)
    with tempfile.TemporaryDirectory() as folder:
        clips = draw_clips(Path(folder), arguments.clips, arguments.seed)
        decode(Video(clips[0].path, EVERY))  # what is loaded once is not counted
        rows = {name: measured(clips, policy) for name, policy in POLICIES.items()}
    figures = {name: {key: getattr(row, key) for key in Row.__slots__} for name, row in rows.items()}
    return finish("input_policies", {"policies": figures}, [table(rows)], arguments)


if __name__ == "__main__":
    sys.exit(main())
