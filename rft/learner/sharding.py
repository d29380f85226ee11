"""Several learner processes as one: parameters, gradients and optimizer state sharded over them by FSDP2."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import HashStore  # type: ignore[attr-defined]
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

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


def shard(
    policy: nn.Module,
    block_names: Sequence[str],
    device: torch.device,
    compute_dtype: torch.dtype,
    frozen_tower: nn.Module | None = None,
    num_replicas: int = 1,
    dtype: torch.dtype | None = None,
) -> None:
    """Shard `policy` in place, a block (module of a class in `block_names`) at a time.

    `num_replicas`: as of the recipe; the ranks of one replica follow each other. Of the values that `policy` has, a
    rank reads its own share alone: they may lie in files that are mapped into memory.

    Parameters get `dtype`, or keep theirs, in which gradients are reduced and the optimizer works; forward and backward
    compute in `compute_dtype`. A frozen vision tower stays as it is, whole on every rank: a rank that has a clip's
    features needs no tower, while another computes them.
    """
    mesh = init_device_mesh(device.type, (num_ranks(),))
    if num_replicas > 1:
        sizes = (num_replicas, num_ranks() // num_replicas)
        mesh = init_device_mesh(device.type, sizes, mesh_dim_names=("replicate", "shard"))
    precision = MixedPrecisionPolicy(param_dtype=compute_dtype, reduce_dtype=torch.float32)
    if compute_dtype in (torch.float32, torch.float64):
        precision = MixedPrecisionPolicy()
    whole = frozen_tower or nn.Module()
    kept, ignored = set(whole.modules()), set(whole.parameters())
    values = _take_values(policy, ignored, dtype)
    for module in policy.modules():
        if type(module).__name__ in block_names and module not in kept:
            fully_shard(module, mesh=mesh, mp_policy=precision)
    # The root holds embeddings and head, which the chunked log-probabilities need again in the backward pass.
    fully_shard(policy, mesh=mesh, mp_policy=precision, reshard_after_forward=False, ignored_params=ignored)
    _give_values(policy, values, device)


def _take_values(policy: nn.Module, ignored: set[nn.Parameter], dtype: torch.dtype | None) -> dict[str, Tensor]:
    """Parameter's name -> its value, but for `ignored` ones; what stays is a shape without values, in `dtype`."""
    taken = {name: parameter for name, parameter in policy.named_parameters() if parameter not in ignored}
    empty = {parameter: torch.empty_like(parameter, dtype=dtype, device="meta") for parameter in taken.values()}
    _replace_parameters(policy, empty)
    return {name: parameter.detach() for name, parameter in taken.items()}


def _give_values(policy: nn.Module, values: dict[str, Tensor], device: torch.device) -> None:
    """Undo `_take_values` on the sharded `policy`: this rank's shares on `device`. `values` are gone afterwards."""
    empty = dict(policy.named_parameters())
    shares = {empty[name]: sharded_like(values.pop(name), empty[name], device=device) for name in list(values)}
    _replace_parameters(policy, shares)


def _replace_parameters(module: nn.Module, new: Mapping[nn.Parameter, Tensor]) -> None:
    """`new`: parameter -> what takes its place, wherever it is used: tied ones stay tied."""
    made = {old: nn.Parameter(tensor, requires_grad=old.requires_grad) for old, tensor in new.items()}
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            if parameter in made:
                setattr(part, name, made[parameter])


def place_in_replica(tensor: Tensor) -> int:
    """Number of this rank's share of a sharded tensor; 0 of a whole one. Replicas of a share have the same number."""
    coordinate = tensor.device_mesh.get_coordinate() if isinstance(tensor, DTensor) else None
    return coordinate[-1] if coordinate else 0


def full(tensor: Tensor) -> Tensor:
    """The whole of a possibly sharded tensor. Every rank must call this, in the same order."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def sharded_like(
    whole: Tensor, example: Tensor, dtype: torch.dtype | None = None, device: torch.device | None = None
) -> Tensor:
    """A copy of `whole`, or of this rank's share of it where `example` is sharded.

    On the device of `example` and in its dtype unless `device` and `dtype` are given. No more of `whole` is read than
    is copied.
    """
    share = whole
    if isinstance(example, DTensor):
        per_rank = -(-len(whole) // example.device_mesh.size(-1))
        share = whole[place_in_replica(example) * per_rank :][:per_rank]
    return sharded_as(share.to(device=device or example.device, dtype=dtype or example.dtype, copy=True), example)


def sharded_as(share: Tensor, example: Tensor) -> Tensor:
    """This rank's share as a part of a tensor that is sharded as `example` is; itself where that is whole."""
    if not isinstance(example, DTensor):
        return share
    return DTensor.from_local(
        share,
        example.device_mesh,
        example.placements,
        run_check=False,
        shape=example.shape,
        stride=example.stride(),
    )


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
