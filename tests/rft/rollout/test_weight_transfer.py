"""Which road weights take, and what goes over it; the roads themselves need vLLM (tests/e2e) and GPUs (tests/gpu)."""

import pytest
import torch

from rft.errors import RolloutError
from rft.recipe import RolloutRecipe
from rft.rollout.weight_transfer import choose_road, layout


@pytest.mark.parametrize(
    ("keys", "on_cpu", "on_gpu"),
    [
        ({}, "object_store", "nccl"),
        ({"share_gpu": True}, "object_store", "ipc"),
        ({"weight_transfer": "object_store", "share_gpu": True}, "object_store", "object_store"),
    ],
)
def test_the_road_follows_the_machine(keys: dict[str, object], on_cpu: str, on_gpu: str) -> None:
    rollout = RolloutRecipe.model_validate(keys)
    assert (choose_road(rollout, use_gpu=False), choose_road(rollout, use_gpu=True)) == (on_cpu, on_gpu)


@pytest.mark.parametrize("road", ["ipc", "nccl"])
def test_a_road_between_gpus_needs_gpus(road: str) -> None:
    rollout = RolloutRecipe.model_validate({"weight_transfer": road})
    assert choose_road(rollout, use_gpu=True) == road
    with pytest.raises(RolloutError, match=f"weight_transfer: {road} needs GPUs.* Set it to auto"):
        choose_road(rollout, use_gpu=False)


def test_a_layout_says_what_to_expect() -> None:
    tensors = {"a.weight": torch.zeros(2, 3, dtype=torch.bfloat16), "a.bias": torch.zeros(2)}
    assert layout(tensors) == {
        "names": ["a.weight", "a.bias"],
        "dtype_names": ["bfloat16", "float32"],
        "shapes": [[2, 3], [2]],
    }
