"""How weights get from the learner into an engine: through Ray's object store, or from GPU to GPU by vLLM's engines.

Between GPUs the learner keeps copies of what it publishes on its own GPU, and every engine fetches them when it loads:
a worker that replaces a dead one gets the same weights in the same way, whatever the others do.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol

import ray

from rft.errors import RolloutError
from rft.recipe import RolloutRecipe
from rft.weights.ref import Offer

if TYPE_CHECKING:
    import torch
    from vllm.v1.engine.llm_engine import LLMEngine

Road = Literal["object_store", "ipc", "nccl"]

FALL_BACK = "Between GPUs, rollout.weight_transfer: object_store takes the way through the CPU's memory."


class TransferFailed(Exception):
    """Weights did not arrive over a road between GPUs."""


def choose_road(rollout: RolloutRecipe, use_gpu: bool) -> Road:
    """What the recipe says; "auto": the object store on a CPU, ipc on one GPU, nccl between GPUs.

    RolloutError: the recipe wants a road between GPUs, and there are none.
    """
    wanted = rollout.weight_transfer
    if not use_gpu and wanted in ("ipc", "nccl"):
        raise RolloutError(f"rollout.weight_transfer: {wanted} needs GPUs, and Ray finds none. Set it to auto.")
    if wanted != "auto":
        return wanted
    if not use_gpu:
        return "object_store"
    return "ipc" if rollout.share_gpu else "nccl"


class Receiver(Protocol):
    """One engine's end of a road."""

    def receive(self, tensors: Any) -> None:
        """Load what a WeightsRef's `tensors` stand for; weights that are not among them stay as they are."""
        ...


def open_receiver(engine: "LLMEngine", rollout: RolloutRecipe, use_gpu: bool) -> Receiver:
    """The end that belongs to the road of the recipe."""
    road = choose_road(rollout, use_gpu)
    if road == "ipc":
        return IpcReceiver(engine)
    return NcclReceiver(engine, rollout.gpus_per_worker) if road == "nccl" else ObjectStoreReceiver(engine)


class ObjectStoreReceiver:
    """Takes the tensors themselves."""

    def __init__(self, engine: "LLMEngine") -> None:
        self._engine = engine

    def receive(self, tensors: "Mapping[str, torch.Tensor]") -> None:
        self._engine.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(list(tensors.items()))})


class IpcReceiver:
    """Reads the learner's copies where they lie, on the GPU that both are on."""

    def __init__(self, engine: "LLMEngine") -> None:
        self._engine = engine
        engine.collective_rpc("init_weight_transfer_engine", args=({"packed": False},))

    def receive(self, offer: Offer) -> None:
        with blaming("ipc"):
            (gpu,) = self._engine.collective_rpc(gpu_uuid)
            rank = dict(offer.ranks).get(gpu)
            if rank is None:
                raise LookupError(f"no learning process is on this engine's GPU {gpu}")
            handles = ray.get(rank.export_weights.remote())
            update(self._engine, {**offer.layout, "ipc_handles": handles})


class NcclReceiver:
    """Gets a broadcast of the first rank, in a group that this engine and that rank alone form.

    A group per engine: one that dies takes no other's with it.
    """

    def __init__(self, engine: "LLMEngine", num_gpus: int) -> None:
        self._engine, self._num_gpus = engine, num_gpus
        self._address: tuple[str, int] | None = None

    def receive(self, offer: Offer) -> None:
        (_, sender), *_ = offer.ranks
        with blaming("nccl"):
            if self._address is None:
                self._address = self._join(sender)
            sent = sender.send_weights.remote(self._address)
            update(self._engine, offer.layout)
            ray.get(sent)

    def _join(self, sender: Any) -> tuple[str, int]:
        """Where the group met."""
        address: tuple[str, int] = ray.get(sender.address.remote())
        size = 1 + self._num_gpus
        joined = sender.open_group.remote(address, size)
        group = {"master_address": address[0], "master_port": address[1], "rank_offset": 1, "world_size": size}
        self._engine.collective_rpc("init_weight_transfer_engine", args=({**group, "packed": True},))
        ray.get(joined)
        return address


def update(engine: "LLMEngine", update_info: dict[str, Any]) -> None:
    """One round of vLLM's weight-transfer engine."""
    engine.collective_rpc("start_weight_update")
    engine.collective_rpc("update_weights", args=(update_info,))
    engine.collective_rpc("finish_weight_update")


@contextmanager
def blaming(road: Road) -> Iterator[None]:
    """TransferFailed for whatever goes wrong on a road between GPUs, with the way out."""
    try:
        yield
    except Exception as error:
        raise TransferFailed(f"rollout.weight_transfer: {road} failed: {error}. {FALL_BACK}") from error


def gpu_uuid(worker: Any = None) -> str:
    """Of this process's GPU. Runs in a vLLM worker too."""
    import torch

    return str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid)
