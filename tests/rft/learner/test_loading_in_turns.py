"""How several ranks load a model: one after the other, as each holds all of it until its shard is cut."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from forked import in_ranks
from test_sharding import free_port
from tiny_policy import FakeClips, FakeProcessor, recipe

from rft.learner import policy_and_reference
from rft.learner.learner import Learner
from rft.learner.sharding import init_distributed


def noting(function: Callable[..., Any], log: Path, note: str) -> Callable[..., Any]:
    def noted(*args: Any, **options: Any) -> Any:
        with log.open("a") as file:  # one short write: lines of several processes do not mix
            file.write(f"{note}\n")
        return function(*args, **options)

    return noted


def one_rank(rank: int, port: int, model_dir: Path, log: Path) -> None:
    torch.set_num_threads(1)
    init_distributed(rank, 2, "127.0.0.1", port, torch.device("cpu"))
    for name in ("load_policy", "shard"):
        setattr(policy_and_reference, name, noting(getattr(policy_and_reference, name), log, f"{rank} {name}"))
    settings = recipe(algorithm={"beta": 0.1})
    Learner(model_dir, settings, FakeProcessor(), FakeClips(), total_updates=4, dtype=torch.float64)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    os._exit(0)  # past the interpreter's teardown, where gloo's threads now and then abort a process that is done


@pytest.mark.slow
def test_ranks_load_policy_and_reference_one_after_the_other(tiny_dir: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    in_ranks(one_rank, 2, free_port(), tiny_dir, log)
    turn = ("load_policy", "shard", "load_policy", "shard")
    assert log.read_text().splitlines() == [f"{rank} {name}" for rank in (0, 1) for name in turn]
