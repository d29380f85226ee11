"""AdamW whose state is small, or elsewhere, against torch's."""

from pathlib import Path

import pytest
import torch
from tiny_policy import FakeClips, FakeProcessor, recipe
from torch import nn

import rft.learner.optimizer as module
from rft.learner.learner import Learner
from rft.learner.optimizer import MOMENTS, LeanAdamW, build_optimizer, round_at_random
from rft.learner.sharding import full
from rft.learner.weights import trainable
from rft.recipe import LearnerRecipe
from rft.types import TrainGroup

SETTINGS = {"learning_rate": 1e-2, "weight_decay": 0.1}
BOTH = {"master_dtype": "bfloat16", "optimizer_dtype": "bfloat16"}


def parameters(dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(shape).to(dtype)) for shape in ((30, 7), (50,), (3, 2, 2))]


def trained(own: list[nn.Parameter], num_updates: int = 5, **settings: object) -> torch.optim.Optimizer:
    optimizer = build_optimizer(own, LearnerRecipe.model_validate(SETTINGS | settings))
    for update in range(num_updates):
        torch.manual_seed(update)
        for parameter in own:
            parameter.grad = torch.randn(parameter.shape).to(parameter.dtype)
        optimizer.step()
    return optimizer


def state_bytes(optimizer: torch.optim.Optimizer) -> int:
    return sum(state[name].nbytes for state in optimizer.state.values() for name in MOMENTS)


def test_the_default_is_torch_itself() -> None:
    assert type(trained(parameters())) is torch.optim.AdamW
    assert type(trained(parameters(torch.float64))) is torch.optim.AdamW


@pytest.mark.parametrize("chunk", [8, 2**26])
def test_offloading_changes_nothing(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    usual, lean = parameters(), parameters()
    states = [trained(usual).state, trained(lean, offload_optimizer=True).state]
    for one, other in zip(usual, lean, strict=True):
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-7)
        for name in (*MOMENTS, "step"):
            assert torch.allclose(states[0][one][name], states[1][other][name], rtol=1e-6, atol=1e-9)


def test_bytes_are_what_was_asked() -> None:
    own = parameters()
    count = sum(parameter.numel() for parameter in own)
    assert state_bytes(trained(own)) == 8 * count
    assert state_bytes(trained(own, optimizer_dtype="bfloat16")) == 4 * count
    half = parameters(torch.bfloat16)
    assert state_bytes(trained(half)) == 8 * count
    assert state_bytes(trained(half, optimizer_dtype="bfloat16")) == 4 * count
    assert {parameter.dtype for parameter in half} == {torch.bfloat16}


def test_small_moments_stay_near_the_large_ones() -> None:
    usual, lean = parameters(), parameters()
    start = [parameter.detach().clone() for parameter in usual]
    trained(usual, 20)
    trained(lean, 20, optimizer_dtype="bfloat16")
    for one, other, before in zip(usual, lean, start, strict=True):
        assert (one - other).norm() < 0.01 * (one - before).norm()


def test_rounding_is_right_on_average_and_to_a_neighbour() -> None:
    noise = torch.Generator().manual_seed(0)
    for value in (0.1, -0.1001, 1.0, 0.0, 3e-5):
        values = torch.full((40_000,), value)
        rounded = round_at_random(values, noise)
        gap = torch.finfo(torch.bfloat16).eps * abs(value)
        assert rounded.dtype == torch.bfloat16
        assert (rounded.float() - values).abs().max() <= gap
        assert rounded.double().mean().item() == pytest.approx(value, abs=0.02 * gap)


def test_a_small_learning_rate_moves_bfloat16_on_average() -> None:
    """Steps of 1e-6 at 0.1, whose neighbours are 4.9e-4 away: rounding to the nearest would move nothing."""
    own = nn.Parameter(torch.full((100, 1000), 0.1).bfloat16())
    before = own.detach().double().mean()
    optimizer = build_optimizer([own], LearnerRecipe.model_validate(BOTH | {"learning_rate": 1e-6}))
    for _ in range(20):
        own.grad = torch.ones_like(own)
        optimizer.step()
    assert (before - own.detach().double().mean()).item() == pytest.approx(20e-6, rel=0.1)


def test_a_second_moment_in_bfloat16_decays() -> None:
    own = nn.Parameter(torch.zeros(100, 100))
    optimizer = build_optimizer([own], LearnerRecipe.model_validate({"optimizer_dtype": "bfloat16"}))
    for gradient in [1.0] + [0.0] * 100:
        own.grad = torch.full_like(own, gradient)
        optimizer.step()
    assert optimizer.state[own]["exp_avg_sq"].double().mean().item() == pytest.approx(1e-3 * 0.999**100, rel=0.01)


CASES = {
    "small": {"optimizer_dtype": "bfloat16"},
    "offloaded": {"offload_optimizer": True},
    "smallest": BOTH | {"offload_optimizer": True},
    "lora": {"lora": {"r": 2, "lora_alpha": 4}, "optimizer_dtype": "bfloat16", "offload_optimizer": True},
    "small lora": {"lora": {"r": 2, "lora_alpha": 4}} | BOTH,
}


@pytest.mark.parametrize("case", CASES)
def test_resume_is_exact(tiny_dir: Path, tmp_path: Path, groups: tuple[TrainGroup, ...], case: str) -> None:
    settings = recipe(learner={"dtype": "bfloat16", "learning_rate": 1e-3} | CASES[case])

    def make() -> Learner:
        return Learner(tiny_dir, settings, FakeProcessor(), FakeClips(), total_updates=4)

    try:
        learner = make()
        assert isinstance(learner._optimizer, LeanAdamW)
        master = torch.bfloat16 if "master_dtype" in CASES[case] else torch.float32
        own = trainable(learner._model)
        assert {parameter.dtype for parameter in own.values()} == {master}
        learner.update(groups)
        learner.save(tmp_path)
        learner.update(groups[:2])
        resumed = make()
        resumed.load(tmp_path)
        assert resumed.update(groups[:2])["skipped_updates"] == 0
        for name, parameter in trainable(resumed._model).items():
            assert torch.equal(full(parameter), full(own[name])), name
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def test_lean_learners_learn_what_the_usual_one_learns(tiny_dir: Path, groups: tuple[TrainGroup, ...]) -> None:
    found = {}
    for name, settings in {"usual": {}, "offloaded": {"offload_optimizer": True}, "smallest": BOTH}.items():
        chosen = recipe(learner={"dtype": "bfloat16", "learning_rate": 1e-2} | settings)
        try:
            learner = Learner(tiny_dir, chosen, FakeProcessor(), FakeClips(), total_updates=4)
            before = {key: full(p).detach().clone() for key, p in trainable(learner._model).items()}
            learner.update(groups)
            moved = [(full(p).detach() - before[key]).float().flatten() for key, p in trainable(learner._model).items()]
            found[name] = torch.cat(moved)
        finally:
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()
    assert torch.allclose(found["usual"], found["offloaded"], atol=1e-7)
    cosine = torch.cosine_similarity(found["usual"], found["smallest"], dim=0)
    assert cosine > 0.9
