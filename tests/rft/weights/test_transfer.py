"""Which road weights take, and what goes over it; the roads themselves need vLLM (tests/e2e) and GPUs (tests/gpu)."""

import pytest
import torch

from rft.errors import RolloutError
from rft.recipe import RolloutRecipe
from rft.weights.ref import Offer, layout
from rft.weights.transfer import IpcReceiver, TransferFailed, choose_road


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


class FakeEngine:
    """Keeps the calls, and fails at one of them."""

    def __init__(self, fails_at: str) -> None:
        self.fails_at = fails_at
        self.calls: list[str] = []

    def collective_rpc(self, method: str, args: tuple[object, ...] = ()) -> list[object]:
        self.calls.append(getattr(method, "__name__", method))
        if self.calls[-1] == self.fails_at:
            raise ValueError("CUDA error: invalid device context")
        return ["GPU-0"]


def test_a_failure_names_the_way_out() -> None:
    engine = FakeEngine(fails_at="gpu_uuid")
    receiver = IpcReceiver(engine)  # type: ignore[arg-type]
    expected = "weight_transfer: ipc failed: CUDA error: invalid device context. Between GPUs, .*: object_store takes"
    with pytest.raises(TransferFailed, match=expected):
        receiver.receive(Offer((), {}))
    assert engine.calls == ["init_weight_transfer_engine", "gpu_uuid"]
