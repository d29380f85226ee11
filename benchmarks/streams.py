"""What does it save when questions along a clip share it? One update of the learner, in three ways.

    python -m benchmarks.streams --questions 8 --frame-pairs 128

Questions are asked at even times along one clip of noise, the last one at its end: all in one packed sequence that
holds the clip once; each a packed group with the clip up to its time; a copy of that prompt for every completion.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers.utils import logging

from benchmarks.random_policy import END, SIZES, VIDEO, VISION_END, VISION_START, OneVideo, make_group, write_model
from benchmarks.report import add_output_arguments, finish
from rft.commands.check.cost import ModelShape, tower_flops
from rft.data.processor import PromptInputs
from rft.learner.attention import blocks
from rft.learner.batch import MicroBatch, token_groups
from rft.learner.learner import Learner
from rft.learner.row_shape import GroupShape
from rft.recipe import Recipe
from rft.tables import TextTable
from rft.types import Prompt, TrainGroup, Video

WAYS = ("one sequence", "a group each", "copies")
QUESTION = (5, 6, 7, 8, 9, 10, 11, 12)


class Stream(OneVideo):
    """Processor and clips in one: a prompt shows the clip's frame pairs up to its `end_s`, one a second."""

    def __init__(self, frame_pairs: int, side: int) -> None:
        self.side = side
        self.patches = torch.randn(frame_pairs * side**2, 3 * 2 * 14 * 14)

    def encode(self, prompt: Prompt, frames: object) -> PromptInputs:
        pairs = int(end_of(prompt))
        return PromptInputs(
            token_ids=(13, VISION_START, *[VIDEO] * (pairs * self.side**2 // 4), VISION_END, *QUESTION),
            patches=self.patches[: pairs * self.side**2].clone(),
            grid=torch.tensor([[pairs, self.side, self.side]]),
            seconds_per_grid=torch.tensor([1.0]),
        )


def end_of(prompt: Prompt) -> float:
    """Time of the question, in seconds."""
    assert isinstance(prompt.media, Video)
    return prompt.media.end_s or 0.0


def questions(stream: Stream, arguments: argparse.Namespace) -> list[TrainGroup]:
    """A group at each time, the times evenly spaced."""
    groups = []
    for number in range(1, arguments.questions + 1):
        drawn = torch.randint(5, 1024, (arguments.group, arguments.completion_tokens)).tolist()
        one = make_group(0, drawn)
        assert isinstance(one.prompt.media, Video)
        end_s = float(arguments.frame_pairs * number // arguments.questions)
        prompt = replace(one.prompt, prompt_id=f"q{number}", media=replace(one.prompt.media, end_s=end_s))
        num_tokens = len(stream.encode(prompt, None).token_ids)
        completions = tuple(replace(completion, num_prompt_tokens=num_tokens) for completion in one.completions)
        groups.append(replace(one, prompt=prompt, completions=completions))
    return groups


def learner_of(way: str, stream: Stream, model_dir: Path) -> Learner:
    keys = {"model": str(model_dir), "tasks": {}, "data": {"train": ()}, "steps": 1000, "learner": {"dtype": "float32"}}
    recipe = Recipe.model_validate(keys | {"video": {"stream": way == WAYS[0]}})
    return Learner(model_dir, recipe, stream, stream, 1000, packed=way != WAYS[2])  # type: ignore[arg-type]


def flops(shape: ModelShape, batches: Sequence[MicroBatch]) -> float:
    """Multiplications and additions of forward and backward over matrices, attention scores and the tower."""
    total = 0.0
    for batch in batches:
        packed = batch.packed
        rows = packed.groups or [GroupShape(int(length), ()) for length in _row_lengths(packed.token_ids)]
        seen = sum(
            (block.stop - block.start) * (block.key_stop - block.key_start) / (2 if block.is_causal else 1)
            for block in blocks(rows)
        )
        linear = 2 * packed.num_tokens * shape.layer_weights
        total += 3 * shape.layers * (linear + 4 * seen * shape.heads * shape.head_width)
        total += 3 * 2 * len(packed.labels) * shape.hidden * shape.vocabulary
        if packed.visual is not None:
            total += sum(tower_flops(shape, tuple(grid), 3.0) for grid in packed.visual.grid.tolist())
    return total


def _row_lengths(token_ids: torch.Tensor) -> torch.Tensor:
    """Of rows that END pads on the right."""
    places = torch.arange(1, token_ids.shape[1] + 1)
    return (places * (token_ids != END)).amax(1)


def measure(arguments: argparse.Namespace, model_dir: Path) -> dict[str, Any]:
    write_model(SIZES[arguments.model_size], model_dir, torch.device("cpu"))
    shape = ModelShape.from_config(json.loads((model_dir / "config.json").read_text(encoding="utf-8")))
    torch.manual_seed(0)
    stream = Stream(arguments.frame_pairs, arguments.side)
    groups = questions(stream, arguments)
    learners = {way: learner_of(way, stream, model_dir) for way in WAYS}
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    found: dict[str, dict[str, Any]] = {}
    for repeat in range(arguments.repeats + 1):
        for way, learner in learners.items():
            if not repeat:
                batches = learner._micro_batches(token_groups(groups, learner.processor))
                found[way] = {"gflop": flops(shape, batches) / 1e9}
            start = time.perf_counter()
            metrics = learner.update(groups)
            seconds[way] += [time.perf_counter() - start] if repeat else []
            found[way] |= {"tokens": metrics["num_packed_tokens"], "clips encoded": metrics["num_encoded_videos"]}
    return {way: of | {"seconds": median(seconds[way])} for way, of in found.items()}


def table(found: dict[str, Any], arguments: argparse.Namespace) -> TextTable:
    first = found[WAYS[0]]
    lines = tuple(
        (way, *(f"{of[name]:.4g}" for name in first), f"{of['gflop'] / first['gflop']:.2f}")
        for way, of in found.items()
    )
    title = f"{arguments.questions} questions, {arguments.group} completions each, {arguments.frame_pairs} frame pairs"
    return TextTable(title, ("", *first, "FLOP ratio"), lines, "")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--questions", type=int, default=8)
    parser.add_argument("--frame-pairs", type=int, default=128, help="of the whole clip")
    parser.add_argument("--side", type=int, default=8, help="patches of a frame's width and height; 4 make a token")
    parser.add_argument("--group", type=int, default=8, help="G, completions of each question")
    parser.add_argument("--completion-tokens", type=int, default=32)
    parser.add_argument("--model-size", choices=("1m", "30m"), default="1m")
    parser.add_argument("--repeats", type=int, default=3, help="updates of each way, after one that warms up")
    add_output_arguments(parser)
    arguments = parser.parse_args(argv)
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(arguments, Path(folder))
    return finish(
        "streams", {"arguments": vars(arguments) | {"results": None}, **found}, [table(found, arguments)], arguments
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
