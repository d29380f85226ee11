"""Prompts with a video, an image or neither, over several learner processes whose vision tower is trained."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from forked import in_ranks
from safetensors.torch import load_file, save_file
from test_families import save_tiny_qwen3_vl
from test_sharding import assert_close, free_port
from tiny_policy import END, IMAGE, VISION_END, VISION_START, FakeClips, FakeProcessor, prompt, recipe

from rft.clock import Clock
from rft.data.processor import PromptInputs
from rft.learner.batch import token_groups
from rft.learner.learner import Learner
from rft.learner.sharding import init_distributed
from rft.learner.vision import filler_visual
from rft.types import Completion, Image, Prompt, TrainGroup

FAMILIES = {2: ("qwen2_5_vl", "qwen3_vl"), 4: ("qwen2_5_vl",)}
"""Number of ranks -> the models that learn there."""


class MixedProcessor(FakeProcessor):
    """As FakeProcessor for a video; images of 3 x 2 visual tokens."""

    def __init__(self, patch: int) -> None:
        self.patch = patch

    def encode(self, prompt: Prompt, frames: object) -> PromptInputs:
        first, *rest = (int(word) for word in prompt.text.split())
        if prompt.media is None:
            return PromptInputs((first, *rest))
        if isinstance(prompt.media, Image):
            pixels = torch.randn(24, 6 * self.patch**2, generator=torch.Generator().manual_seed(first))
            return PromptInputs(
                (first, VISION_START, *[IMAGE] * 6, VISION_END, *rest), pixels, torch.tensor([[1, 6, 4]])
            )
        inputs = super().encode(prompt, frames)
        patches = torch.randn(48, 6 * self.patch**2, generator=torch.Generator().manual_seed(first))
        return replace(inputs, patches=patches)


class QuietClips(FakeClips):
    def load(self, media: object) -> object:
        return None if media is None else super().load(media)


def mixed_batch(processor: MixedProcessor) -> tuple[TrainGroup, ...]:
    """A video, an image and three texts: no forward has the same kinds on all of 2 or 4 ranks."""
    prompts = [prompt("video", "7 8 9"), replace(prompt("image", "10 11 12"), media=Image(Path("i.png"), 1, 784))]
    prompts += [replace(prompt(text, text), media=None) for text in ("13 14", "15 16 17", "18 19 30 31")]

    def completion(one: Prompt, *token_ids: int) -> Completion:
        num_prompt_tokens = len(processor.encode(one, None).token_ids)
        return Completion("", token_ids, (-1.0,) * len(token_ids), num_prompt_tokens, "stop", 0)

    return tuple(TrainGroup(p, (completion(p, 20, 21, END), completion(p, 22, END)), (1.0, -1.0)) for p in prompts)


def make(model_dir: Path, family: str) -> Learner:
    settings = recipe(learner={"max_tokens_per_forward": 1}, algorithm={"beta": 0.1})
    processor = MixedProcessor(16 if family == "qwen3_vl" else 14)
    return Learner(model_dir, settings, processor, QuietClips(), total_updates=4, dtype=torch.float64)


def learn(model_dir: Path, out: Path, family: str) -> None:
    """An update on all kinds, one on the video and a text; then the weights."""
    learner = make(model_dir, family)
    batch = mixed_batch(learner.processor)
    metrics = [learner.update(batch), learner.update((batch[0], batch[2]))]
    assert [line["num_encoded_videos"] for line in metrics] == [2, 1]
    weights, _ = learner.state_dict_for_rollout()
    if weights:
        save_file(weights, out)


def one_rank(rank: int, num_ranks: int, port: int, folder: Path) -> None:
    torch.set_num_threads(1)
    init_distributed(rank, num_ranks, "127.0.0.1", port, torch.device("cpu"))
    for family in FAMILIES[num_ranks]:
        learn(folder / family, folder / f"{family} on {num_ranks}", family)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    os._exit(0)  # past the interpreter's teardown, where gloo's threads now and then abort a process that is done


@pytest.mark.slow
def test_ranks_that_see_different_kinds_learn_what_one_learns(tiny_dir: Path, tmp_path: Path) -> None:
    """Every rank's tower takes part where any rank's does; else their collectives do not meet."""
    (tmp_path / "qwen2_5_vl").symlink_to(tiny_dir)
    save_tiny_qwen3_vl(tmp_path / "qwen3_vl")
    for family in FAMILIES[2]:
        learn(tmp_path / family, tmp_path / f"{family} on 1", family)
    for num_ranks, families in FAMILIES.items():
        in_ranks(one_rank, num_ranks, num_ranks, free_port(), tmp_path)
        for family in families:
            alone, together = (load_file(tmp_path / f"{family} on {number}") for number in (1, num_ranks))
            assert_close(alone, together)


def test_the_filler_of_a_tower_changes_nothing(tiny_dir: Path) -> None:
    """One forward of a text, with and without it: same log-probabilities; gradients of the tower 0 instead of none."""
    learner = make(tiny_dir, "qwen2_5_vl")
    text = mixed_batch(learner.processor)[2]
    (plain,) = learner._micro_batches(token_groups([text], learner.processor))
    policy, model = learner._policies.policy, learner._model
    expected = policy(plain.packed).logprobs
    expected.sum().backward()
    assert all(parameter.grad is None for parameter in model.model.visual.parameters())
    assert plain.packed.visual is None
    found = policy(replace(plain.packed, visual=filler_visual(model))).logprobs
    assert torch.equal(found, expected)
    found.sum().backward()
    grads = [parameter.grad for parameter in model.model.visual.parameters()]
    assert all(grad is not None and not grad.any() for grad in grads)
    assert policy.num_encoded_videos == 0


def test_fillers_of_infinite_loss_change_nothing(tiny_dir: Path) -> None:
    """Neither sums nor gradients: 0 times infinity is not a number."""
    learner = make(tiny_dir, "qwen2_5_vl")
    one, other, *_ = learner._micro_batches(token_groups(mixed_batch(learner.processor), learner.processor))
    filler = replace(other, advantages=torch.full_like(other.advantages, torch.inf), is_filler=True)
    sums, gradients = [], []
    for batches in ([one], [one, filler]):
        sums.append(learner._accumulate(batches, [], Clock()))
        gradients.append({n: p.grad.clone() for n, p in learner._model.named_parameters() if p.grad is not None})
        learner._model.zero_grad()
    assert sums[0] == sums[1]
    assert gradients[0].keys() <= gradients[1].keys()
    for name, gradient in gradients[1].items():
        assert torch.equal(gradient, gradients[0].get(name, torch.zeros_like(gradient))), name
