"""What only a GPU can show of the learner: `pytest tests/gpu`, a minute on one device of any size."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rewards.targets.span import SpanTarget
from rft.data.frames import Frames
from rft.data.processor import PromptProcessor
from rft.learner.attention import Packing, packed_attention
from rft.learner.learner import Learner
from rft.learner.model import _compiled_logprobs, label_logprobs
from rft.learner.optimizer import MOMENTS
from rft.learner.row_shape import GroupShape
from rft.learner.weights import trainable
from rft.recipe import Recipe
from rft.synthetic.policy import build_policy
from rft.types import Completion, Prompt, TrainGroup, Video, VideoSampling

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


class NoisyClips:
    """One clip of noise, 8 frames of 56 by 56."""

    def load(self, video: Video) -> Frames:
        pixels = np.random.default_rng(0).integers(0, 255, (8, 56, 56, 3), dtype=np.uint8)
        return Frames(pixels, tuple(i / 2 for i in range(8)), tuple(range(8)), 2.0, 8, 4.0, "noise")


@pytest.fixture(scope="module")
def policy_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("policy")
    build_policy(directory, seed=0)
    return directory


def make(policy_dir: Path, device: str, dtype: str, **learner: object) -> Learner:
    settings = {"dtype": dtype, "learning_rate": 1e-3, "lr_scheduler_type": "constant"} | learner
    recipe = Recipe.model_validate(
        {"model": str(policy_dir), "tasks": {}, "data": {"train": ()}, "steps": 4, "learner": settings}
    )
    processor = PromptProcessor(str(policy_dir))
    return Learner(policy_dir, recipe, processor, NoisyClips(), total_updates=4, device=device)  # type: ignore[arg-type]


def groups(processor: PromptProcessor, *, packed: bool = True) -> list[TrainGroup]:
    """Two groups of three completions; not `packed`: six groups of one."""
    video = Video(Path("noise.mp4"), VideoSampling(2.0, 4, 8, 784, 3136, 10**6))
    singles = []
    for number in range(6):
        prompt = Prompt(f"p{number // 3}", "t", f"When does it move? {number // 3}", video, SpanTarget(0.0, 1.0))
        token_ids = processor.completion_ids("<think>now</think><answer>1.5 to 3.0</answer>"[: 20 + 4 * number])
        num_prompt_tokens = len(processor.encode(prompt, NoisyClips().load(video)).token_ids)
        completion = Completion("", token_ids, (-1.0,) * len(token_ids), num_prompt_tokens, "stop", 0)
        singles.append(TrainGroup(prompt, (completion,), (float(number % 3 - 1),)))
    if not packed:
        return singles
    return [
        TrainGroup(
            three[0].prompt, tuple(one.completions[0] for one in three), tuple(one.advantages[0] for one in three)
        )
        for three in (singles[:3], singles[3:])
    ]


def test_gpu_and_cpu_learn_the_same_in_float32(policy_dir: Path) -> None:
    torch.set_float32_matmul_precision("highest")
    learners = [make(policy_dir, device, "float32") for device in ("cpu", "cuda")]
    metrics = [learner.update(groups(learner.processor)) for learner in learners]
    for name in ("entropy", "grad_norm", "logprob_gap"):
        assert metrics[0][name] == pytest.approx(metrics[1][name], rel=1e-3), name
    for probe in zip(*(learner.state_dict_for_rollout()[1].logprobs for learner in learners), strict=True):
        assert probe[0] == pytest.approx(probe[1], abs=1e-2)


@pytest.mark.parametrize("window", [None, 40])
def test_flex_attention_on_gpu_equals_blocks_on_cpu(window: int | None) -> None:
    """Values and gradients, groups of odd lengths."""
    row = (GroupShape(300, (70, 3, 129)), GroupShape(17, (40,)))
    length = sum(map(len, row))
    torch.manual_seed(0)
    tensors = [torch.randn(1, heads, length, 32) for heads in (4, 2, 2)]
    weights = torch.randn(1, length, 4, 32)
    found = []
    for device in ("cpu", "cuda"):
        own = [tensor.to(device).requires_grad_() for tensor in tensors]
        packing = Packing(row, torch.device(device))
        out, _ = packed_attention(torch.nn.Module(), *own, None, scaling=0.2, packing=packing, sliding_window=window)
        found.append([out, *torch.autograd.grad(out, own, weights.to(device))])
    for blocks, flex in zip(*found, strict=True):
        assert (blocks - flex.cpu()).abs().max() < 1e-2 * blocks.abs().max()


@pytest.mark.parametrize("options", [{}, {"gradient_checkpointing": True}, {"lora": {"r": 4}}], ids=str)
def test_packed_equals_copies_in_bfloat16(policy_dir: Path, options: dict[str, object], tmp_path: Path) -> None:
    try:
        found = []
        for packed in (True, False):
            learner = make(policy_dir, "cuda", "bfloat16", **options)
            found.append(learner.update(groups(learner.processor, packed=packed)))
        assert found[0]["logprob_gap"] == pytest.approx(found[1]["logprob_gap"], rel=1e-2)
        assert found[0]["grad_norm"] == pytest.approx(found[1]["grad_norm"], rel=5e-2)
        learner.save(tmp_path)
        learner.load(tmp_path)
        assert learner.update(groups(learner.processor))["skipped_updates"] == 0
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


@pytest.mark.parametrize("num_tokens", [1, 64, 300])
def test_fused_logprobs_equal_the_plain_ones(num_tokens: int) -> None:
    torch.manual_seed(0)
    logits = (3 * torch.randn(num_tokens, 5000, device="cuda")).bfloat16().requires_grad_()
    labels = torch.randint(10, 5000, (num_tokens,), device="cuda")
    weights = torch.randn(num_tokens, device="cuda")
    banned = torch.tensor([1, 7], device="cuda")
    found = []
    for score in (label_logprobs, _compiled_logprobs()):
        logprobs, entropies = score(logits, labels, 0.8, banned)
        found.append([logprobs, entropies, *torch.autograd.grad(logprobs, logits, weights)])
    for plain, fused in zip(*found, strict=True):
        assert torch.allclose(plain, fused, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"lora": {"r": 4}}, {"optimizer_dtype": "bfloat16"}], ids=str)
def test_offloaded_moments_learn_the_same_on_the_gpu(policy_dir: Path, options: dict[str, object]) -> None:
    try:
        moved = []
        for offload in (False, True):
            learner = make(policy_dir, "cuda", "float32", offload_optimizer=offload, **options)
            for _ in range(2):
                learner.update(groups(learner.processor))
            moments = [state[name] for state in learner._optimizer.state.values() for name in MOMENTS]
            assert {moment.device.type for moment in moments} == {"cpu" if offload else "cuda"}
            assert all(moment.is_pinned() for moment in moments) == offload
            moved.append(torch.cat([p.detach().flatten() for p in trainable(learner._model).values()]))
        assert torch.allclose(*moved, rtol=1e-4, atol=1e-4)
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def test_benchmark_writes_its_result(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "learner.py"
    arguments = ["--repeats", "1", "--completion-tokens", "16", "--results", str(tmp_path)]
    subprocess.run([sys.executable, str(script), *arguments], check=True)
    (path,) = tmp_path.glob("learner_1m_*.json")
    result = json.loads(path.read_text())
    assert result["hardware"] == torch.cuda.get_device_name()
    assert result["logprob_difference"] < 0.1
