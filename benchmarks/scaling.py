"""How does the cost of learning from a group grow with prompt, completions, group and frames?

    python -m benchmarks.scaling --results benchmarks/results      # scaling.html has the plots

From one middle point (16 frames in prompts of about 600 tokens, C 64, G 8), one number at a time is changed: the prompt
by the size of the frames, the frames at that size, C, and G. Each point is one prompt with a real clip and made-up
completions, learned from by `Learner.update`, packed and with a copy of the prompt per completion, no KL term; decoding
the clip and the processor's work are timed apart.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.report import add_output_arguments, finish
from benchmarks.tiny import TASK, Workload, recipe_keys, write_data
from rft.commands.report.page import charts_page
from rft.data.dataset import read_rows, to_prompt
from rft.data.processor import PromptProcessor
from rft.data.video import ClipCache, decode
from rft.learner.learner import Learner
from rft.recipe import Recipe
from rft.tables import LineChart, TextTable
from rft.types import Completion, Prompt, TrainGroup

MIDDLE = Workload(prompts=1, group=8, completion_tokens=64, frames=16, steps=1, beta=0.0)
AXES: dict[str, tuple[str, tuple[int, ...]]] = {
    "prompt tokens": ("side", (56, 112, 168, 224, 280, 336)),
    "frames": ("frames", (4, 8, 16, 24, 32)),
    "completion tokens": ("completion_tokens", (16, 32, 64, 128, 256)),
    "completions": ("group", (2, 4, 8, 16)),
}
"""What grows -> the Workload's field that makes it grow, and its values."""

WAYS = ("packed", "copies")


@dataclass(frozen=True, slots=True)
class Point:
    """Seconds at one place of an axis."""

    value: int
    """On the axis."""
    prompt_tokens: int
    decode: float
    processor: float
    packed: float
    copies: float

    def to_json(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in self.__slots__} | {"ratio": self.copies / self.packed}


def measure(folder: Path, axis: str, work: Workload, repeats: int) -> Point:
    """One place: updates of the two ways in turn."""
    recipe = Recipe.model_validate(recipe_keys(folder, work))
    prompt = to_prompt(read_rows(recipe.data.train, None, recipe.tasks)[0], recipe)
    clips = ClipCache(folder / "decoded", 1.0)
    begun = time.perf_counter()
    frames = decode(prompt.media)
    decoded = time.perf_counter()
    processor = PromptProcessor(recipe.model)
    loaded = time.perf_counter()
    num_prompt = len(processor.encode(prompt, frames).token_ids)
    encoded = time.perf_counter()
    group = made_up(prompt, work, num_prompt, len(processor.tokenizer), set(processor.banned_token_ids))
    learners = {
        way: Learner(recipe.model, recipe, processor, clips, total_updates=1_000_000, packed=way == "packed")
        for way in WAYS
    }
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for repeat in range(repeats + 1):
        for way, learner in learners.items():
            start = time.perf_counter()
            learner.update([group])
            if repeat:  # the first warms up
                seconds[way].append(time.perf_counter() - start)
    clips.close()
    value = num_prompt if axis == "prompt tokens" else getattr(work, AXES[axis][0])
    packed, copies = (median(seconds[way]) for way in WAYS)
    return Point(value, num_prompt, decoded - begun, encoded - loaded, packed, copies)


def made_up(prompt: Prompt, work: Workload, num_prompt: int, vocabulary: int, banned: set[int]) -> TrainGroup:
    """A group of random completions, half of them good."""
    torch.manual_seed(0)
    allowed = torch.tensor([token for token in range(vocabulary) if token not in banned])
    drawn = allowed[torch.randint(len(allowed), (work.group, work.completion_tokens))].tolist()
    completions = tuple(Completion("", tuple(ids), (0.0,) * len(ids), num_prompt, "length", 0) for ids in drawn)
    return TrainGroup(prompt, completions, tuple(1.0 if number % 2 else -1.0 for number in range(len(drawn))))


def tables(found: Mapping[str, Sequence[Point]]) -> list[TextTable]:
    columns = ("", "prompt tokens", "decode, s", "processor, s", "packed, s", "copies, s", "copies over packed")
    return [
        TextTable(
            f"One update against {axis}",
            (axis, *columns[1:]),
            tuple(
                (
                    f"{p.value}",
                    f"{p.prompt_tokens}",
                    *(f"{s:.4f}" for s in (p.decode, p.processor, p.packed, p.copies)),
                    f"{p.copies / p.packed:.2f}",
                )
                for p in points
            ),
        )
        for axis, points in found.items()
    ]


def page(found: Mapping[str, Sequence[Point]]) -> str:
    """The plots: one figure per axis, seconds over what grows."""
    charts = [
        LineChart(
            f"seconds against {axis}",
            {name: [(p.value, getattr(p, name)) for p in points] for name in ("packed", "copies", "decode")},
        )
        for axis, points in found.items()
    ]
    return charts_page("Cost of a group", charts)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--axes", nargs="+", choices=tuple(AXES), default=tuple(AXES))
    parser.add_argument("--points", type=int, help="of each axis, the first ones; default: all")
    parser.add_argument("--repeats", type=int, default=3, help="updates of each way, after one that warms up")
    add_output_arguments(parser)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    found: dict[str, list[Point]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder, 1)
        for axis in arguments.axes:
            field, values = AXES[axis]
            places = [replace(MIDDLE, **{field: value}) for value in values[: arguments.points]]
            found[axis] = [measure(folder, axis, work, arguments.repeats) for work in places]
    result: dict[str, Any] = {
        "question": "seconds of one update on a group, packed and as copies, as prompt, completions or frames grow",
        "task": TASK,
        "axes": {axis: [point.to_json() for point in points] for axis, points in found.items()},
    }
    if arguments.results:
        arguments.results.mkdir(parents=True, exist_ok=True)
        (arguments.results / "scaling.html").write_text(page(found), encoding="utf-8")
    return finish("scaling", result, tables(found), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
