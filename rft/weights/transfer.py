"""How weights get from the learner into an engine: through Ray's object store, or from GPU to GPU by vLLM's engines.

Between GPUs the learner keeps copies of what it publishes on its own GPU. By ipc every engine reads them for itself. By
nccl they are broadcast once to all engines, and to an engine that takes a dead one's place once more.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import ray

from rft.errors import RolloutError
from rft.recipe import RolloutRecipe
from rft.weights.ref import Address, Broadcast, StagedWeights, StoredWeights

if TYPE_CHECKING:
    import torch
    from vllm.v1.engine.llm_engine import LLMEngine

TransferBackend = Literal["object_store", "ipc", "nccl"]

LOAD_TIMEOUT_S = 600.0
"""Weights that take longer than this to an engine will not come: a process between GPUs waits for one that failed."""

FALL_BACK = "Between GPUs, rollout.weight_transfer: object_store takes the way through the CPU's memory."


class TransferFailed(Exception):
    """Weights did not arrive from GPU to GPU."""


def transfer_backend(rollout: RolloutRecipe, use_gpu: bool) -> TransferBackend:
    """What the recipe says; "auto": the object store on a CPU, ipc on one GPU, nccl between GPUs.

    RolloutError: the recipe wants a backend between GPUs, and there are none.
    """
    requested = rollout.weight_transfer
    if not use_gpu and requested in ("ipc", "nccl"):
        raise RolloutError(f"rollout.weight_transfer: {requested} needs GPUs, and Ray finds none. Set it to auto.")
    if requested != "auto":
        return requested
    if not use_gpu:
        return "object_store"
    return "ipc" if rollout.share_gpu else "nccl"


def open_receiver(engine: "LLMEngine", rollout: RolloutRecipe, use_gpu: bool) -> "Receiver | None":
    """The end of the recipe's backend; None: weights come through the object store."""
    match transfer_backend(rollout, use_gpu):
        case "ipc":
            return IpcReceiver(engine)
        case "nccl":
            return NcclReceiver(engine, rollout.gpus_per_worker)
        case "object_store":
            return None


def stored_tensors(stored: StoredWeights) -> "Mapping[str, torch.Tensor]":
    """The tensors themselves, fetched from Ray's object store if they are there."""
    tensors = stored.tensors
    return ray.get(tensors) if isinstance(tensors, ray.ObjectRef) else tensors


class IpcReceiver:
    """Reads the learner's copies on the GPU that learner and engine share."""

    def __init__(self, engine: "LLMEngine") -> None:
        self._engine = engine
        engine.collective_rpc("init_weight_transfer_engine", args=({"packed": False},))

    def receive(self, staged: StagedWeights) -> None:
        with transfer_errors("ipc"):
            (gpu,) = self._engine.collective_rpc(gpu_uuid)
            rank = dict(staged.ranks).get(gpu)
            if rank is None:
                raise LookupError(f"no learning process is on this engine's GPU {gpu}")
            handles = ray.get(rank.export_weights.remote())
            update(self._engine, {**staged.metadata, "ipc_handles": handles})


class NcclReceiver:
    """Gets a broadcast of the first rank, in a group with it: of all engines, or of this one where it loads alone.

    The engine at the first place speaks with that rank for all.
    """

    def __init__(self, engine: "LLMEngine", num_gpus: int) -> None:
        self._engine, self._num_gpus = engine, num_gpus
        self._sender: Any = None
        self._group: Address | None = None

    def group(self, staged: StagedWeights) -> Address | None:
        """The group that this engine is in with the first rank of `staged`; None: in none."""
        return self._group if self._sender == staged.ranks[0][1] else None

    def receive(self, staged: StagedWeights) -> None:
        sender = staged.ranks[0][1]
        with transfer_errors("nccl"):
            broadcast = staged.broadcast or Broadcast(ray.get(sender.address.remote()), place=0, num_engines=1)
            if self.group(staged) != broadcast.group:
                self._join(sender, broadcast)
            sent = [sender.send_weights.remote()] if broadcast.place == 0 else []
            update(self._engine, staged.metadata)
            ray.get(sent)

    def _join(self, sender: Any, broadcast: Broadcast) -> None:
        """Leave the group there was, and meet all that take part in `broadcast`."""
        if self._group is not None:
            self._engine.collective_rpc("shutdown_weight_transfer_engine")
        (host, port), size = broadcast.group, 1 + broadcast.num_engines * self._num_gpus
        met = [sender.open_group.remote(broadcast.group, size)] if broadcast.place == 0 else []
        ranks = {"rank_offset": 1 + broadcast.place * self._num_gpus, "world_size": size}
        info = {"master_address": host, "master_port": port, **ranks, "packed": True}
        self._engine.collective_rpc("init_weight_transfer_engine", args=(info,))
        ray.get(met)
        self._sender, self._group = sender, broadcast.group


Receiver = IpcReceiver | NcclReceiver
"""One engine's end of a transfer between GPUs: `receive` loads the weights that are staged; others stay as they are."""


def update(engine: "LLMEngine", update_info: dict[str, Any]) -> None:
    """One round of vLLM's weight-transfer engine."""
    engine.collective_rpc("start_weight_update")
    engine.collective_rpc("update_weights", args=(update_info,))
    engine.collective_rpc("finish_weight_update")


@contextmanager
def transfer_errors(backend: TransferBackend) -> Iterator[None]:
    """Raises TransferFailed for whatever goes wrong between GPUs, with the way out."""
    try:
        yield
    except Exception as error:
        raise TransferFailed(f"rollout.weight_transfer: {backend} failed: {error}. {FALL_BACK}") from error


def gpu_uuid(worker: Any = None) -> str:
    """UUID of this process's GPU. Runs in a vLLM worker too."""
    import torch

    return str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid)
