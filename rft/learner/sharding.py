"""Several learner processes as one: parameters, gradients and optimizer state sharded over them by FSDP2."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import HashStore  # type: ignore[attr-defined]
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from rft.learner.context import Context

Value = TypeVar("Value")


def own_device() -> torch.device:
    """Where this process computes: on the one GPU that Ray shows it, else on the CPU."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def init_distributed(rank: int, world_size: int, address: str, port: int, device: torch.device) -> None:
    """Join the learner processes; returns once all `world_size` of them have called it.

    `address` and `port`: where rank 0 listens. `device`: with its index, as torch asks of a GPU.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    store = f"tcp://{address}:{port}"
    dist.init_process_group(_backend(device), init_method=store, rank=rank, world_size=world_size)


def init_alone(device: torch.device) -> None:
    """Make this process a group of one, without any port: sharding over one rank keeps float32 master weights."""
    dist.init_process_group(_backend(device), store=HashStore(), rank=0, world_size=1)


def _backend(device: torch.device) -> str:
    return "nccl" if device.type == "cuda" else "gloo"


def num_ranks() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def this_rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def make_context(size: int, device: torch.device) -> Context | None:
    """The `size` ranks, one behind the other, with which this one shares prompts; None: it shares none.

    Every rank must call this, with a size that divides their number.
    """
    if size == 1:
        return None
    mesh = init_device_mesh(device.type, (num_ranks() // size, size), mesh_dim_names=("prompts", "context"))
    return Context(this_rank() % size, size, mesh.get_group("context"))


@contextmanager
def in_turns() -> Iterator[None]:
    """One rank after the other runs the block, which must call no collective. Every rank must come here."""
    turns = num_ranks() if num_ranks() > 1 else 0
    own = this_rank() if turns else 0
    for _ in range(own):
        dist.barrier()
    try:
        yield
    finally:
        for _ in range(own, turns):
            dist.barrier()


def shard(
    policy: nn.Module,
    block_names: Sequence[str],
    device: torch.device,
    compute_dtype: torch.dtype,
    frozen_tower: nn.Module | None = None,
    num_replicas: int = 1,
) -> None:
    """Shard `policy` in place, a block (module of a class in `block_names`) at a time.

    `num_replicas`: as of the recipe; the ranks of one replica follow each other.

    Parameters keep their dtype, in which gradients are reduced and the optimizer works; forward and backward compute
    in `compute_dtype`. A frozen vision tower stays whole on every rank, in `compute_dtype`: a rank that has a clip's
    features needs no tower, while another computes them.
    """
    mesh = init_device_mesh(device.type, (num_ranks(),))
    if num_replicas > 1:
        sizes = (num_replicas, num_ranks() // num_replicas)
        mesh = init_device_mesh(device.type, sizes, mesh_dim_names=("replicate", "shard"))
    precision = MixedPrecisionPolicy(param_dtype=compute_dtype, reduce_dtype=torch.float32)
    if compute_dtype in (torch.float32, torch.float64):
        precision = MixedPrecisionPolicy()
    whole = frozen_tower.to(device=device, dtype=compute_dtype) if frozen_tower is not None else nn.Module()
    kept = set(whole.modules())
    for module in policy.modules():
        if type(module).__name__ in block_names and module not in kept:
            fully_shard(module, mesh=mesh, mp_policy=precision)
    # The root holds embeddings and head, which the chunked log-probabilities need again in the backward pass.
    fully_shard(
        policy, mesh=mesh, mp_policy=precision, reshard_after_forward=False, ignored_params=set(whole.parameters())
    )


def place_in_replica(tensor: Tensor) -> int:
    """Number of this rank's share of a sharded tensor; 0 of a whole one. Replicas of a share have the same number."""
    coordinate = tensor.device_mesh.get_coordinate() if isinstance(tensor, DTensor) else None
    return coordinate[-1] if coordinate else 0


def full(tensor: Tensor) -> Tensor:
    """The whole of a possibly sharded tensor. Every rank must call this, in the same order."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def sharded_like(whole: Tensor, example: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """`whole` on the device of `example` and in its dtype, or `dtype`; this rank's share where `example` is sharded."""
    moved = whole.to(device=example.device, dtype=dtype or example.dtype)
    if not isinstance(example, DTensor):
        return moved
    return distribute_tensor(moved, example.device_mesh, example.placements, src_data_rank=None)


def gather_from_ranks(value: Value) -> list[Value]:
    """Each rank's `value`, in the order of the ranks."""
    if num_ranks() == 1:
        return [value]
    values: list[Value] = [value] * num_ranks()
    dist.all_gather_object(values, value)
    return values


def sum_over_ranks(values: dict[str, float], device: torch.device) -> dict[str, float]:
    """Each value added up over the ranks; the same keys in the same order on each."""
    if num_ranks() == 1:
        return values
    total = torch.tensor(list(values.values()), dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return dict(zip(values, total.tolist(), strict=True))
