"""The receiving ends of transfers between GPUs, on real vLLM engines of the CPU.

vLLM's registry of weight-transfer engines gets two that take the same requests as vLLM's own for ipc and nccl, checked
by vLLM's own types, and move the tensors by other means: what only GPUs can do is left to tests/gpu.
"""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from ray import cloudpickle
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from rft.actors.cluster import cluster
from rft.actors.rollout import engine_environment
from rft.recipe import Recipe
from rft.synthetic.policy import build_policy
from rft.weights.ref import Probe, StagedWeights, WeightsRef, broadcast_refs, tensor_metadata
from rft.weights.sender import WeightSender

pytestmark = pytest.mark.slow

GPU = "GPU-of-this-test"
PROBE_IDS = tuple(range(40, 72))
GAP = 1e-3


class Rank:
    """Has the methods of a learning process that engines call."""

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        self.weights = weights
        self.group: Any = None
        self.calls: list[str] = []

    def address(self) -> tuple[str, int]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return "127.0.0.1", int(free.getsockname()[1])

    def open_group(self, address: tuple[str, int], size: int) -> None:
        self.calls.append(f"open {size}")
        self.group = join(address, 0, size)

    def send_weights(self) -> None:
        self.calls.append("send")
        for tensor in self.weights.values():
            self.group.broadcast_obj(tensor, src=0)

    def export_weights(self) -> list[dict[str, torch.Tensor]]:
        self.calls.append("export")
        return [{GPU: tensor} for tensor in self.weights.values()]

    def take(self, weights: dict[str, torch.Tensor]) -> list[str]:
        """New weights; the calls so far."""
        self.weights = weights
        return self.calls


class Host:
    """Two engines in a process of their own."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        os.environ.update(engine_environment(recipe.rollout, use_gpu=False, offline=True, threads=2))
        from rft.rollout import engine
        from rft.weights import transfer as weight_transfer

        self.folder, self.recipe = folder, recipe
        self.plain_args = engine.engine_args
        weight_transfer.gpu_uuid = lambda worker=None: GPU

    def start(self, backend: str) -> None:
        """Two engines at the end of `backend`."""
        from vllm.distributed.weight_transfer import WeightTransferEngineFactory

        from rft.rollout import engine
        from rft.weights import transfer as weight_transfer

        WeightTransferEngineFactory.register_engine(backend + " of this test", transfer_engine(backend))
        config = {"weight_transfer_config": {"backend": backend + " of this test"}}
        engine.engine_args = lambda *args: self.plain_args(*args) | config
        weight_transfer.transfer_backend = lambda rollout, use_gpu: backend
        self.engines = [engine.Engine(str(self.folder), self.recipe, use_gpu=False) for _ in range(2)]

    def load(self, which: int, ref: WeightsRef) -> float:
        return self.engines[which].load_weights(ref).result()

    def load_all(self, ref: WeightsRef) -> list[float]:
        """As the pool has its engines load, but one after the other: vLLM knows one engine at a time in a process."""
        groups = [engine.broadcast_group(ref.source).result() for engine in self.engines]
        refs = [ref] * 2 if ref.source.new_group is None else broadcast_refs(ref, groups)
        return [engine.load_weights(to).result() for engine, to in zip(self.engines, refs, strict=True)]

    def sleep(self) -> None:
        for engine in self.engines:
            engine.sleep().result()


def join(address: tuple[str, int], rank: int, size: int) -> Any:
    """The group of `size` processes at `address`, whose first rank keeps what it sends for those who come later."""
    from vllm.distributed.utils import StatelessProcessGroup

    store = torch.distributed.TCPStore(*address, is_master=rank == 0, wait_for_workers=False)
    return StatelessProcessGroup(rank, size, store)


def transfer_engine(backend: str) -> type:
    """For vLLM's registry."""
    from vllm.distributed.weight_transfer.ipc_engine import (
        IPCWeightTransferEngine,
        IPCWeightTransferInitInfo,
        IPCWeightTransferUpdateInfo,
    )
    from vllm.distributed.weight_transfer.nccl_engine import (
        NCCLWeightTransferEngine,
        NCCLWeightTransferInitInfo,
        NCCLWeightTransferUpdateInfo,
    )

    class OverIpc(IPCWeightTransferEngine):
        def init_transfer_engine(self, init_info: IPCWeightTransferInitInfo) -> None:
            assert not init_info.packed

        def update_weights(self, update_info: dict) -> None:
            info: IPCWeightTransferUpdateInfo = self.parse_update_info(update_info)
            self.model.load_weights([(n, h[GPU]) for n, h in zip(info.names, info.ipc_handles, strict=True)])

    class OverNccl(NCCLWeightTransferEngine):
        def init_transfer_engine(self, info: NCCLWeightTransferInitInfo) -> None:
            assert info.packed
            rank = info.rank_offset + self.parallel_config.rank
            self.group = join((info.master_address, info.master_port), rank, info.world_size)

        def update_weights(self, update_info: dict) -> None:
            info: NCCLWeightTransferUpdateInfo = self.parse_update_info(update_info)
            for name, shape in zip(info.names, info.shapes, strict=True):
                tensor = self.group.broadcast_obj(None, src=0)
                assert list(tensor.shape) == shape
                self.model.load_weights([(name, tensor)])

    return OverIpc if backend == "ipc" else OverNccl


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("backends")
    for seed, name in enumerate("ab"):
        build_policy(folder / name, seed)
    return folder / "a", folder / "b"


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # Ray's processes cannot import a test
    with cluster():
        yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def host(policies: tuple[Path, Path]) -> Any:
    recipe = Recipe.model_validate(
        {
            "model": str(policies[0]),
            "tasks": {"temporal_grounding": {}},
            "data": {"train": ["rows.jsonl"]},
            "steps": 1,
            "rollout": {"max_model_len": 128, "kv_cache_gib": 0.25},
            "learner": {"dtype": "float32"},
        }
    )
    return ray.remote(num_cpus=0)(Host).remote(policies[0], recipe)


@pytest.mark.parametrize("backend", ["ipc", "nccl"])
def test_weights_arrive_by_every_backend(backend: str, policies: tuple[Path, Path], host: Any) -> None:
    """In fresh engines, in the same ones while they sleep, in one alone as where it takes another's place, and in both
    after that. By nccl each time from one sending; by ipc each engine reads for itself."""
    rank = ray.remote(num_cpus=0)(Rank).remote(moving(policies[0]))
    ray.get(host.start.remote(backend))
    for which in (0, 1, 0):
        ref = published(rank, policies[which], backend)
        assert max(ray.get(host.load_all.remote(ref))) < GAP
        ray.get(host.sleep.remote())
    ref = published(rank, policies[1], backend)
    assert ray.get(host.load.remote(1, ref)) < GAP
    ref = published(rank, policies[1], backend)
    assert max(ray.get(host.load_all.remote(ref))) < GAP
    stale = WeightsRef(1, ref.source, probe(policies[0]), ref.model)
    assert ray.get(host.load.remote(0, stale)) > 10 * GAP
    calls = ray.get(rank.take.remote({}))
    if backend == "nccl":
        assert calls == ["open 3", "send", "send", "send", "open 2", "send", "open 3", "send", "open 2", "send"]
    else:
        assert calls == ["export"] * 10
        weights = moving(policies[1])
        elsewhere = WeightsRef(
            1, StagedWeights((("GPU-elsewhere", rank),), tensor_metadata(weights)), ref.probe, ref.model
        )
        with pytest.raises(Exception, match=r"no learning process is on this engine's GPU .* object_store"):
            ray.get(host.load.remote(0, elsewhere))


def test_the_sending_end_fits_the_trainer_of_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it but the group, which is NCCL's."""
    from vllm.distributed.weight_transfer import VLLMWeightSyncClient, nccl_engine

    met = []
    monkeypatch.setattr(nccl_engine, "open_trainer_endpoint", met.append)
    sender = WeightSender()
    sender.open_group(("127.0.0.1", 1234), 3)
    assert [(of.master_address, of.master_port, of.world_size, of.is_sender) for of in met] == [
        ("127.0.0.1", 1234, 3, True)
    ]
    trainer = sender._group
    assert isinstance(trainer.client, VLLMWeightSyncClient)
    for weights in ({"a": torch.zeros(2)}, {"b": torch.ones(3, dtype=torch.bfloat16), "c": torch.ones(1)}):
        sender._source.weights = weights
        assert dict(trainer._checked_iter(trainer.source, trainer.source.metadata())) == weights


def published(rank: Any, folder: Path, backend: str) -> WeightsRef:
    """The weights of `folder`, which `rank` has from now on."""
    weights = moving(folder)
    ray.get(rank.take.remote(weights))
    new_group = ray.get(rank.address.remote()) if backend == "nccl" else None
    source = StagedWeights(((GPU, rank),), tensor_metadata(weights), new_group)
    return WeightsRef(1, source, probe(folder), str(folder))


def moving(folder: Path) -> dict[str, torch.Tensor]:
    return {n: tensor for n, tensor in load_file(folder / "model.safetensors").items() if "visual" not in n}


def probe(folder: Path) -> Probe:
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        logprobs = model(input_ids=torch.tensor([PROBE_IDS])).logits[0].log_softmax(-1)
    return Probe(PROBE_IDS, tuple(logprobs[i, token].item() for i, token in enumerate(PROBE_IDS[1:])))
