"""Which backend moves weights, and what it is given; a transfer needs vLLM (tests/e2e) and GPUs (tests/gpu)."""

import pytest
import torch

from rft.errors import RolloutError
from rft.recipe import RolloutRecipe
from rft.weights.ref import Address, Broadcast, Probe, StagedWeights, WeightsRef, broadcast_refs, tensor_metadata
from rft.weights.transfer import IpcReceiver, TransferFailed, transfer_backend


@pytest.mark.parametrize(
    ("keys", "on_cpu", "on_gpu"),
    [
        ({}, "object_store", "nccl"),
        ({"share_gpu": True}, "object_store", "ipc"),
        ({"weight_transfer": "object_store", "share_gpu": True}, "object_store", "object_store"),
    ],
)
def test_the_backend_follows_the_machine(keys: dict[str, object], on_cpu: str, on_gpu: str) -> None:
    rollout = RolloutRecipe.model_validate(keys)
    assert (transfer_backend(rollout, use_gpu=False), transfer_backend(rollout, use_gpu=True)) == (on_cpu, on_gpu)


@pytest.mark.parametrize("backend", ["ipc", "nccl"])
def test_a_backend_between_gpus_needs_gpus(backend: str) -> None:
    rollout = RolloutRecipe.model_validate({"weight_transfer": backend})
    assert transfer_backend(rollout, use_gpu=True) == backend
    with pytest.raises(RolloutError, match=f"weight_transfer: {backend} needs GPUs.* Set it to auto"):
        transfer_backend(rollout, use_gpu=False)


def test_metadata_say_what_to_expect() -> None:
    tensors = {"a.weight": torch.zeros(2, 3, dtype=torch.bfloat16), "a.bias": torch.zeros(2)}
    assert tensor_metadata(tensors) == {
        "names": ["a.weight", "a.bias"],
        "dtype_names": ["bfloat16", "float32"],
        "shapes": [[2, 3], [2]],
    }


OLD, OTHER, NEW = ("10.0.0.1", 1), ("10.0.0.1", 2), ("10.0.0.1", 3)


@pytest.mark.parametrize(
    ("groups", "group"),
    [
        ([None], NEW),
        ([OLD], OLD),
        ([OLD, OLD, OLD], OLD),
        ([None, None], NEW),
        ([OLD, None, OLD], NEW),
        ([None, OLD], NEW),
        ([OLD, OTHER], NEW),
    ],
)
def test_engines_stay_in_their_group_while_it_holds_all_of_them(groups: list[Address | None], group: Address) -> None:
    ref = WeightsRef(4, StagedWeights((), {}, new_group=NEW), Probe((), ()))
    assert [to.source for to in broadcast_refs(ref, groups)] == [
        StagedWeights((), {}, NEW, Broadcast(group, place, len(groups))) for place in range(len(groups))
    ]


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
        receiver.receive(StagedWeights((), {}))
    assert engine.calls == ["init_weight_transfer_engine", "gpu_uuid"]
