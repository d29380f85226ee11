"""Four processes, as one replica and as two: the update of one process, and a state that each layout can read; and two
replicas of two processes that share each prompt."""

import os
from pathlib import Path

import pytest
import torch
from forked import in_ranks
from safetensors.torch import load_file
from test_sharding import free_port, learn
from torch import Tensor, nn

from rft.errors import CheckpointError
from rft.learner.optimizer import apply_gradients, build_optimizer, empty_state, read_state, write_state
from rft.learner.sharded_state import read_shards, shard_names, write_shards
from rft.learner.sharding import full, gather_from_ranks, init_distributed, shard
from rft.recipe import LearnerRecipe

NUM_RANKS = 4
LEARNER = LearnerRecipe(learning_rate=1e-2)
LEAN = LearnerRecipe(learning_rate=1e-2, master_dtype="bfloat16", optimizer_dtype="bfloat16")


class Block(nn.Module):
    """Sizes that four processes share unevenly: 5 rows are 2, 2, 1 and 0, and a scale of 3 too few."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down, self.scale = nn.Linear(5, 8), nn.Linear(8, 5), nn.Parameter(torch.ones(3))

    def forward(self, rows: Tensor) -> Tensor:
        changed: Tensor = rows + self.down(torch.tanh(self.up(rows))) * self.scale.sum()
        return changed


def blocks(dtype: torch.dtype = torch.float64, num_replicas: int = 0) -> nn.Module:
    """The same each time; sharded over all processes unless `num_replicas` is 0."""
    torch.manual_seed(0)
    made = nn.Sequential(Block(), Block()).to(dtype)
    if num_replicas:
        shard(made, ("Block",), torch.device("cpu"), dtype, None, num_replicas)
    return made


def learned(
    model: nn.Module, rows: Tensor, learner: LearnerRecipe = LEARNER, weight: float = 1.0
) -> torch.optim.Optimizer:
    """The optimizer after one update on `rows`. `weight`: what gradients are divided by."""
    parameters = list(model.parameters())
    optimizer = build_optimizer(parameters, learner)
    model(rows.to(parameters[0].dtype)).square().sum().backward()
    apply_gradients(parameters, optimizer, weight, 1.0, 1e-2)
    return optimizer


def state_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{key}/{name}": tensor.detach().reshape(tensor.shape or (1,))
        for name, parameter in model.named_parameters()
        for key, tensor in {"parameter": parameter, **read_state(optimizer, parameter)}.items()
    }


def one_rank(rank: int, port: int, model_dir: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    init_distributed(rank, NUM_RANKS, "127.0.0.1", port, torch.device("cpu"))
    rows = torch.arange(20, dtype=torch.float64).reshape(NUM_RANKS, 5) / 7
    alone = blocks()
    # Gradients of sharded parameters are means over the processes; those of this one are sums already.
    expected = state_of(alone, learned(alone, rows, weight=NUM_RANKS))
    for num_replicas in (1, 2):
        model = blocks(num_replicas=num_replicas)
        optimizer = learned(model, rows[rank : rank + 1])
        saved = state_of(model, optimizer)
        for name, tensor in saved.items():
            torch.testing.assert_close(full(tensor), expected[name], rtol=1e-12, atol=1e-15)
        write_shards(saved, folder / str(num_replicas))
        torch.distributed.barrier()
        other = blocks(num_replicas=3 - num_replicas)
        found = read_back(other, folder / str(num_replicas))
        assert all(torch.equal(full(found[name]), full(tensor)) for name, tensor in saved.items())
    lean = blocks(torch.bfloat16, num_replicas=2)
    state = state_of(lean, learned(lean, rows[rank : rank + 1], LEAN))
    for tensor in state.values():  # put together inside each replica
        first, *others = gather_from_ranks(full(tensor))
        assert all(torch.equal(first, other) for other in others), "noise of rounding differs between replicas"
    learn(model_dir, folder / "shared", "full", context=2, replicas=2)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    os._exit(0)  # as in test_sharding.py


def read_back(model: nn.Module, folder: Path) -> dict[str, Tensor]:
    """The state of `model` once it holds what is in `folder`."""
    optimizer = build_optimizer(list(model.parameters()), LEARNER)
    states = {name: empty_state(optimizer, parameter) for name, parameter in model.named_parameters()}
    tensors = {f"{key}/{name}": tensor for name, state in states.items() for key, tensor in state.items()}
    tensors |= {f"parameter/{name}": parameter.detach() for name, parameter in model.named_parameters()}
    assert shard_names(folder) == set(tensors)
    read_shards(tensors, folder)
    for name, parameter in model.named_parameters():
        write_state(optimizer, parameter, states[name] | {"step": states[name]["step"].reshape(())})
    return state_of(model, optimizer)


@pytest.mark.slow
def test_four_processes_learn_save_and_continue_as_one(tiny_dir: Path, tmp_path: Path) -> None:
    in_ranks(one_rank, NUM_RANKS, free_port(), tiny_dir, tmp_path)
    folder = tmp_path / "1"
    files = sorted(folder.iterdir())
    assert [file.suffix for file in files] == [".safetensors"] * NUM_RANKS
    assert max(file.stat().st_size for file in files) < sum(file.stat().st_size for file in files) / 2
    from_flat, from_replicas = (read_back(blocks(), tmp_path / layout) for layout in ("1", "2"))
    for name, tensor in from_flat.items():
        torch.testing.assert_close(tensor, from_replicas[name], rtol=1e-12, atol=1e-15)
    with pytest.raises(CheckpointError, match=r"cannot be read: Missing key .*other"):
        read_shards({"other": torch.zeros(3)}, folder)
    with pytest.raises(CheckpointError, match="cannot be read: Size mismatch"):
        read_shards({"parameter/0.scale": torch.zeros(4, dtype=torch.float64)}, folder)
    learn(tiny_dir, tmp_path / "alone", "full")
    weights, expected = (load_file(tmp_path / who / "weights.safetensors") for who in ("shared", "alone"))
    assert weights.keys() == expected.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, expected[name], rtol=0.0, atol=1e-10)
    files[0].write_bytes(files[0].read_bytes()[:100])
    with pytest.raises(CheckpointError, match="cannot be read"):
        shard_names(folder)
