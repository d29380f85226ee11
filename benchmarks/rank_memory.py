"""How much memory does a rank take to load a policy, and to save it? Ranks on this machine, over gloo.

    python -m benchmarks.rank_memory

A random policy in bfloat16 is loaded as for full training, with float32 master weights and no reference, and saved.
Figures are what the process's memory rises by at most, pages of mapped files among it.
"""

import argparse
import os
import re
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from benchmarks.random_policy import SIZES, write_model
from benchmarks.report import add_output_arguments, finish
from rft.learner.policy_and_reference import Loading, Policies
from rft.learner.sharding import gather_from_ranks, init_distributed
from rft.learner.weights import save_policy
from rft.recipe import Recipe
from rft.tables import TextTable

CPU = torch.device("cpu")
RECIPE: dict[str, Any] = {"model": "random", "tasks": {}, "data": {"train": ()}, "steps": 1}
WARM_UP = "1m"
"""Loaded first, so that imports and groups of processes are not counted."""


def rise_mib(since: float | None = None) -> float:
    """Most memory of this process since the last call without `since`, less `since`."""
    if since is None:
        Path("/proc/self/clear_refs").write_text("5")
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    return int(peak[1]) / 1024 - (since or 0.0)


def one_rank(rank: int, num_ranks: int, port: int, folder: Path, size: str, file_mb: int) -> None:
    torch.set_num_threads(1)
    init_distributed(rank, num_ranks, "127.0.0.1", port, CPU)
    logging.disable_progress_bar()
    for name in (WARM_UP, size):
        found = measured(folder / name, folder / f"saved_{num_ranks}_{name}", file_mb)
    if rank == 0:
        torch.save(found, folder / f"{num_ranks}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    os._exit(0)


def measured(model_dir: Path, out: Path, file_mb: int) -> dict[str, Any]:
    """Of each rank: MiB and seconds of loading and saving."""
    figures = []
    loading = Loading(CPU, torch.bfloat16, packed=True, features_dir=None)
    before, start = rise_mib(), time.perf_counter()
    policies = Policies(model_dir, Recipe.model_validate(RECIPE), (), loading)
    figures += [rise_mib(before), time.perf_counter() - start]
    torch.distributed.barrier()
    before, start = rise_mib(), time.perf_counter()
    save_policy(policies.model, out, torch.bfloat16, file_mb * 10**6)
    figures += [rise_mib(before), time.perf_counter() - start]
    names = ("load_mib", "load_seconds", "save_mib", "save_seconds")
    return dict(zip(names, zip(*gather_from_ranks(figures), strict=True), strict=True))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def table(result: dict[str, Any]) -> TextTable:
    rows = tuple(
        (
            str(number),
            f"{max(found['load_mib']):.0f}",
            f"{found['save_mib'][0]:.0f}",
            f"{max(found['save_mib'][1:], default=0):.0f}",
            *(f"{max(found[key]):.2f}" for key in ("load_seconds", "save_seconds")),
        )
        for number, found in result["ranks"].items()
    )
    title = f"{result['parameters'] / 1e6:.0f} M parameters, {result['parameters'] * 2 / 2**20:.0f} MiB in bfloat16"
    head = ("ranks", "load: MiB per rank", "save: MiB, first rank", "the others", "load: seconds", "save: seconds")
    return TextTable(title, head, rows, "")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--size", default="30m", choices=list(SIZES))
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--file-mb", type=int, default=5000, help="largest file of the saved policy")
    add_output_arguments(parser)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(SIZES[WARM_UP], folder / WARM_UP, CPU)
        result: dict[str, Any] = {
            "size": arguments.size,
            "parameters": write_model(SIZES[arguments.size], folder / arguments.size, CPU),
            "ranks": {},
        }
        for number in arguments.ranks:
            parts = (number, free_port(), folder, arguments.size, arguments.file_mb)
            torch.multiprocessing.start_processes(one_rank, parts, number, start_method="spawn")
            result["ranks"][number] = torch.load(folder / f"{number}.pt")
    return finish("rank_memory", result, [table(result)], arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
