"""Prompts with a video, an image or neither, over several learner processes whose vision tower is trained."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_families import save_tiny_qwen3_vl
from test_sharding import assert_close, free_port
from tiny_policy import END, IMAGE, VISION_END, VISION_START, FakeClips, FakeProcessor, prompt, recipe

from rft.clock import Clock
from rft.data.processor import PromptInputs
from rft.learner.batch import group_samples
from rft.learner.learner import Learner
from rft.learner.sharding import init_distributed
from rft.learner.vision import filler_visual
from rft.types import Completion, Image, Prompt, TrainSample

FAMILIES = ("qwen2_5_vl", "qwen3_vl")


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


def mixed_batch(processor: MixedProcessor) -> tuple[TrainSample, ...]:
    """A video, two texts, an image and a text again: no forward has the same kinds on all of 2 or 4 ranks."""
    image = Image(Path("i.png"), 1, 784)
    shown = {"video": prompt("video", "7 8 9"), "image": replace(prompt("image", "10 11 12"), media=image)}
    shown |= {name: replace(prompt(name, text), media=None) for name, text in TEXTS.items()}
    samples = []
    for one in shown.values():
        num_prompt_tokens = len(processor.encode(one, processor).token_ids)
        for token_ids, advantage in (((20, 21, END), 1.0), ((22, END), -1.0)):
            completion = Completion("", token_ids, (-1.0,) * len(token_ids), num_prompt_tokens, "stop", 0)
            samples.append(TrainSample(one, completion, advantage))
    return tuple(samples)


TEXTS = {"t1": "13 14", "t2": "15 16 17", "t3": "18 19 30 31"}


def make(model_dir: Path, family: str) -> Learner:
    settings = recipe(learner={"max_tokens_per_forward": 1}, algorithm={"beta": 0.1})
    processor = MixedProcessor(16 if family == "qwen3_vl" else 14)
    return Learner(model_dir, settings, processor, QuietClips(), total_updates=4, dtype=torch.float64)


def learn(model_dir: Path, out: Path, family: str) -> None:
    """An update on all kinds, one on the video and a text, one on texts alone; then the weights."""
    learner = make(model_dir, family)
    batch = mixed_batch(learner.processor)
    metrics = [learner.update(batch), learner.update((*batch[:2], *batch[4:6])), learner.update(batch[4:])]
    assert [line["num_encoded_videos"] for line in metrics[:2]] == [2, 1]
    weights, _ = learner.state_dict_for_rollout()
    if weights:
        save_file(weights, out)


def one_rank(rank: int, num_ranks: int, port: int, folder: Path) -> None:
    torch.set_num_threads(1)
    init_distributed(rank, num_ranks, "127.0.0.1", port, torch.device("cpu"))
    for family in FAMILIES:
        learn(folder / family, folder / f"{family} on {num_ranks}", family)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    os._exit(0)  # past the interpreter's teardown, where gloo's threads now and then abort a process that is done


@pytest.mark.slow
def test_ranks_that_see_different_kinds_learn_what_one_learns(tiny_dir: Path, tmp_path: Path) -> None:
    """Every rank's tower takes part where any rank's does; else their collectives do not meet."""
    (tmp_path / "qwen2_5_vl").symlink_to(tiny_dir)
    save_tiny_qwen3_vl(tmp_path / "qwen3_vl")
    for family in FAMILIES:
        learn(tmp_path / family, tmp_path / f"{family} on 1", family)
    for num_ranks in (2, 4):
        torch.multiprocessing.spawn(one_rank, (num_ranks, free_port(), tmp_path), nprocs=num_ranks)
        for family in FAMILIES:
            alone, together = (load_file(tmp_path / f"{family} on {number}") for number in (1, num_ranks))
            assert_close(alone, together)


def test_the_filler_of_a_tower_changes_nothing(tiny_dir: Path) -> None:
    """One forward of a text, with and without it: same log-probabilities; gradients of the tower 0 instead of none."""
    learner = make(tiny_dir, "qwen2_5_vl")
    text = [group for group in group_samples(mixed_batch(learner.processor)) if group.prompt.media is None][:1]
    (plain,) = learner._micro_batches(text)
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
    one, other, *_ = learner._micro_batches(group_samples(mixed_batch(learner.processor)))
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
