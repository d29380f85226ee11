"""Python commands and ranks in processes that begin with torch, Ray and Transformers imported.

That is most of what a start costs. Each is forked from a server that has imported them and done nothing else. As a
person starts them: e2e/test_train.py.
"""

import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TIMEOUT_S = 600

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["rft.launch", "rft.learner.learner", "transformers.models.auto.processing_auto"])


def in_ranks(one_rank: Callable[..., None], num_ranks: int, *arguments: Any) -> None:
    """Calls `one_rank(rank, *arguments)` in as many processes at once; raises where one does."""
    import torch

    torch.multiprocessing.start_processes(one_rank, arguments, num_ranks, start_method="forkserver")


def rft(*arguments: object) -> str:
    """What the command prints; it must not fail."""
    return python("-m", "rft", *arguments)


def python(*arguments: object) -> str:
    """What `python -m MODULE ...` or `python FILE ...` prints, run in the project's folder; it must not fail."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        parts = ([str(one) for one in arguments], dict(os.environ), (out, err))
        process = SERVER.Process(target=_run, args=parts)
        process.start()
        process.join(TIMEOUT_S)
        if process.exitcode is None:
            process.kill()
        assert process.exitcode == 0, f"exit status {process.exitcode}\n{out.read_text()}{err.read_text()}"
        return out.read_text()


def _run(arguments: Sequence[str], environment: Mapping[str, str], streams: Sequence[Path]) -> None:
    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    if arguments[0] == "-m":
        sys.argv = list(arguments[1:])
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(arguments)
        sys.path.insert(0, str(Path(arguments[0]).parent))
        runpy.run_path(arguments[0], run_name="__main__")
