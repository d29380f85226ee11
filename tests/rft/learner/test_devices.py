"""Which device a learner process takes, on a machine whose GPUs are made up."""

import pytest
import torch
import torch.distributed as dist

from rft.learner.sharding import init_distributed, own_device


def test_a_rank_takes_the_one_gpu_that_it_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's own check of the device runs; only the driver behind it is made up."""
    taken: list[int] = []
    groups: list[tuple[str, int, int]] = []

    def init(backend: str, *, init_method: str, rank: int, world_size: int) -> None:
        groups.append((backend, rank, world_size))

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch._C, "_cuda_setDevice", taken.append, raising=False)
    monkeypatch.setattr(dist, "init_process_group", init)
    init_distributed(1, 4, "127.0.0.1", 1, own_device())
    assert (taken, groups) == ([0], [("nccl", 1, 4)])


def test_without_a_gpu_it_takes_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert own_device() == torch.device("cpu")
