"""Questions along one clip as one sequence: what they share, and that no question sees what comes after it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from exact_model import exact
from PIL import Image
from tiny_policy import END, VIDEO, VISION_END, VISION_START
from torch import Tensor

from rewards.targets.span import SpanTarget
from rft.data.dataset import to_prompt
from rft.data.frames import Frames
from rft.data.processor import PromptInputs, PromptProcessor
from rft.data.video import decode
from rft.learner.batch import clip_units, prompt_positions, token_groups, unit_length
from rft.learner.learner import Learner
from rft.learner.packing import PackedGroup, pack_group, share_beginnings
from rft.learner.vision import VisualInput
from rft.recipe import Recipe
from rft.synthetic.policy import build_policy
from rft.tasks import TASKS
from rft.types import Completion, Prompt, TrainGroup, Video

COMPLETIONS = ((10, 11, 12, END), (13,), (14, 15, 16, END))


def question(pairs: int, words: tuple[int, ...], patches: Tensor) -> PromptInputs:
    """Of 2 x 3 visual tokens per frame pair, before the words."""
    shown = (VISION_START, *[VIDEO] * 6 * pairs, VISION_END)
    return PromptInputs((7, 8, *shown, *words), patches[: 24 * pairs], torch.tensor([[pairs, 4, 6]]), torch.ones(1))


def packed(model: torch.nn.Module, inputs: PromptInputs) -> PackedGroup:
    positions = prompt_positions(model, inputs.token_ids, inputs.grid, inputs.seconds_per_grid)
    return pack_group(inputs.token_ids, positions, COMPLETIONS, VisualInput(inputs.patches, inputs.grid))


@pytest.mark.parametrize("change", ["pixels", "rate", "words first", "rows"])
def test_what_begins_otherwise_shares_nothing(tiny_dir: Path, change: str) -> None:
    model, patches = exact(tiny_dir, packed=True), torch.randn(72, 3 * 2 * 14**2)
    lead, early = (question(pairs, (9, 6), patches) for pairs in (3, 2))
    ids = early.token_ids
    other = {
        "pixels": replace(early, patches=early.patches + 1),
        "rate": replace(early, seconds_per_grid=torch.tensor([2.0])),
        "words first": replace(early, token_ids=(9, *ids)),
        "rows": replace(early, grid=torch.tensor([[2, 6, 4]])),
    }[change]
    groups = [packed(model, inputs) for inputs in (lead, other, lead)]
    row = share_beginnings(groups, (VIDEO,))
    assert [group.shape.num_shared for group in row] == [0, 0, 0]
    assert share_beginnings([groups[0], packed(model, early)], (VIDEO,))[1].shape.num_shared == 15


RECIPE = Recipe.model_validate(
    {
        "model": "none",
        "tasks": {"stream_choice": {"think": False}},
        "data": {"train": ()},
        "steps": 4,
        "video": {"stream": True, "fps": 2, "max_frames": 16, "min_pixels": 3136, "max_pixels": 3136},
        "learner": {"learning_rate": 1e-2, "dtype": "float32"},
    }
)


class Decoded:
    """Clips that are decoded anew each time."""

    def load(self, video: Video) -> Frames:
        return decode(video)


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy, and two clips of 24 frames, 4 per second, that differ from 2 s on."""
    folder = tmp_path_factory.mktemp("streams")
    build_policy(folder / "policy")
    noise = np.random.default_rng(0).integers(0, 255, (24, 56, 56, 3), np.uint8)
    for name in ("seen", "other"):
        (folder / name).mkdir()
        for number, frame in enumerate(noise):
            pixels = frame if number <= 8 or name == "seen" else 255 - frame
            Image.fromarray(pixels).save(folder / name / f"{number:03d}.png")
    return folder


def asked_at(clip: Path, *times_s: float) -> list[TrainGroup]:
    """A question at each time, with two completions."""
    task, processor = TASKS["stream_choice"], PromptProcessor.of(str(clip.parent / "policy"), RECIPE)
    groups = []
    for place, end_s in enumerate(times_s):
        fields = {"id": f"q{place}", "video": str(clip), "end_s": end_s, "source_fps": 4.0}
        prompt = to_prompt(task.row_type.model_validate(task.example.model_dump() | fields), RECIPE)
        drawn = [processor.completion_ids(f"<answer>{letter}</answer>") for letter in "AB"]
        num_tokens = len(processor.encode(prompt, decode(prompt.media)).token_ids)
        completions = tuple(Completion("", ids, (-1.0,) * len(ids), num_tokens, "stop", 0) for ids in drawn)
        groups.append(TrainGroup(prompt, completions, (1.0, -1.0)))
    return groups


def learner(folder: Path, *, is_packed: bool = True) -> Learner:
    processor = PromptProcessor.of(str(folder / "policy"), RECIPE)
    return Learner(folder / "policy", RECIPE, processor, Decoded(), 4, dtype=torch.float64, packed=is_packed)


def logprobs(one: Learner, groups: list[TrainGroup]) -> dict[int, Tensor]:
    """By place of the completion, out of the rows that the learner trains on."""
    found = {}
    for batch in one._micro_batches(token_groups(groups, one.processor)):
        with torch.no_grad():
            values = batch.unpack(one._policy(batch.packed).logprobs)
        found |= {place: row[mask] for place, row, mask in zip(batch.places, values, batch.mask, strict=True)}
    return found


def test_another_future_changes_nothing(streams: Path) -> None:
    """Tokens, positions and log-probabilities of questions at 1 and 2 s, with one at 5 s in the same row."""
    seen, other = (asked_at(streams / name, 1.0, 2.0, 5.0) for name in ("seen", "other"))
    one = learner(streams)
    for before, after in zip(one.view_groups(seen[:2]), one.view_groups(other[:2]), strict=True):
        assert (before.token_ids, before.position_ids) == (after.token_ids, after.position_ids)
    in_both = logprobs(one, seen), logprobs(one, other)
    gaps = [(in_both[0][place] - in_both[1][place]).abs().max().item() for place in range(6)]
    assert max(gaps[:4]) < 1e-12
    assert min(gaps[4:]) > 1e-6


def test_the_update_is_that_of_copies(streams: Path) -> None:
    groups = asked_at(streams / "seen", 1.0, 2.5, 5.0, 5.0)
    whole = token_groups(groups, learner(streams).processor)
    (unit,) = clip_units(whole, 10_000)
    shared, copies = learner(streams), learner(streams, is_packed=False)
    metrics, of_copies = shared.update(groups), copies.update(groups)
    assert (metrics["num_forwards"], metrics["num_encoded_videos"], of_copies["num_encoded_videos"]) == (1, 1, 8)
    assert unit_length(unit) < metrics["num_packed_tokens"] < sum(group.packed_length() for group in whole)
    assert metrics["loss"] == pytest.approx(of_copies["loss"], abs=1e-7)
    assert metrics["grad_norm"] == pytest.approx(of_copies["grad_norm"], rel=1e-5)


def test_units_hold_one_clip_and_at_most_so_many_tokens(streams: Path) -> None:
    groups = [*asked_at(streams / "seen", 1.0, 5.0, 2.0), *asked_at(streams / "other", 1.0)]
    text = Prompt("t", "t", "Why?", None, SpanTarget(0, 1))
    groups += [replace(groups[0], prompt=text)] * 2
    tokens = token_groups(groups, learner(streams).processor)

    def ends(most: int) -> list[list[float | None]]:
        units = clip_units(tokens, most)
        return [[group.prompt.media and group.prompt.media.end_s for group in unit] for unit in units]

    assert ends(10_000) == [[5.0, 2.0, 1.0], [1.0], [None], [None]]
    whole = unit_length(clip_units(tokens, 10_000)[0])
    assert ends(whole - 1) == [[5.0, 2.0], [1.0], [1.0], [None], [None]]
    assert ends(1) == [[5.0], [2.0], [1.0], [1.0], [None], [None]]
